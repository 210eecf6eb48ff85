/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network, as far as it needs no program: lo is up, the machine's own name
 * leads to an address, and where the command line has ip= the interface that it
 * names gets its address, as a kernel with CONFIG_IP_PNP would do it
 * (Documentation/admin-guide/nfs/nfsroot.rst):
 *
 *	ip=CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF
 *
 * SERVER and AUTOCONF are ignored: there is no DHCP here. Without HOSTNAME,
 * hostname= is it, which a kernel before Linux 6.0 does not know.
 */
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "boot/init/init.h"

enum ip_field { CLIENT, SERVER, GATEWAY, NETMASK, HOSTNAME, DEVICE, FIELDS };

static void net_copy_name(char to[IFNAMSIZ], const char *name)
{
	for (size_t i = 0; i < IFNAMSIZ - 1 && name[i]; i++)
		to[i] = name[i];
}

static long net_bring_up(int fd, const char *name)
{
	struct ifreq request = { .ifr_flags = 0 };
	long result;

	net_copy_name(request.ifr_name, name);
	result = SYS(ioctl, fd, SIOCGIFFLAGS, &request);
	request.ifr_flags |= IFF_UP;
	return result ? result : SYS(ioctl, fd, SIOCSIFFLAGS, &request);
}

/* "192.0.2.1"; false where it is nothing of the kind. */
static bool net_parse_address(const char *text, struct sockaddr *to)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	uint32_t value = 0;

	for (int i = 0; i < 4; i++) {
		const char *before = text;

		value = value << 8 | (text_number(&text) & 0xff);
		if (text == before || *text != (i < 3 ? '.' : '\0'))
			return false;
		text++;
	}
	address.sin_addr.s_addr = __builtin_bswap32(value);
	memcpy(to, &address, sizeof(*to));
	return true;
}

static long net_set_address(int fd, const char *const field[FIELDS])
{
	struct ifreq request = { .ifr_flags = 0 };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	long result = -EINVAL;

	net_copy_name(request.ifr_name, field[DEVICE]);
	if (net_parse_address(field[CLIENT], &request.ifr_addr))
		result = SYS(ioctl, fd, SIOCSIFADDR, &request);
	if (!result && net_parse_address(field[NETMASK], &request.ifr_netmask))
		result = SYS(ioctl, fd, SIOCSIFNETMASK, &request);
	if (!result)
		result = net_bring_up(fd, field[DEVICE]);
	if (result || !net_parse_address(field[GATEWAY], &route.rt_gateway))
		return result;
	route.rt_dst.sa_family = route.rt_genmask.sa_family = AF_INET;
	result = SYS(ioctl, fd, SIOCADDRT, &route);
	return result == -EEXIST ? 0 : result;
}

/* Is it a word of a file like /etc/hosts? A comment's do not count. */
static bool net_has_name(const char *hosts, const char *name)
{
	while (*hosts) {
		const char *rest = text_after(hosts, name);

		if (rest && (*rest <= ' ' || *rest == '#'))
			return true;
		while (*hosts > ' ' && *hosts != '#')
			hosts++;
		if (*hosts == '#')
			while (*hosts && *hosts != '\n')
				hosts++;
		while (*hosts && *hosts <= ' ')
			hosts++;
	}
	return false;
}

/*
 * A machine finds itself by its name. The root's own /etc/hosts is not written
 * to, which may be on somebody's disk: a file of the guest's memory lies over
 * it, as in a container. Where there is none, an empty one is made for that.
 */
static void net_resolve_name(const char *name, const char *address)
{
	static const char path[] = "/run/hosts", target[] = "/etc/hosts";
	const int flags = O_WRONLY | O_CREAT | O_CLOEXEC;
	struct text line = { .len = 0 };
	size_t len;
	const char *hosts = text_load(target, &len);
	int fd;

	if (net_has_name(hosts, name))
		return;
	if (!len)
		text_add(&line, "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
	text_add(text_add(&line, address), "\t");
	text_add(text_add(&line, name), "\n");
	fd = (int)SYS(open, path, flags, 0644);
	SYS(write, fd, line.bytes, line.len);
	SYS(write, fd, hosts, len);
	SYS(close, fd);
	SYS(mkdir, "/etc", 0755);
	SYS(close, SYS(open, target, flags, 0644));
	SYS(mount, path, target, NULL, MS_BIND, NULL);
}

void net_start(void)
{
	const char *ip = text_word("ip"), *field[FIELDS];
	const char *name = text_word("hostname");
	struct text fields = { .len = 0 };
	char *at = fields.bytes;
	int fd = (int)SYS(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has_address;
	long result;

	if (fd >= 0)
		net_bring_up(fd, "lo");
	text_add(&fields, ip ? ip : "");
	for (int i = 0; i < FIELDS; i++) {
		field[i] = at;
		while (*at && *at != ':')
			at++;
		if (*at)
			*at++ = 0;
	}
	if (!*field[DEVICE])
		field[DEVICE] = "eth0";
	if (!*field[HOSTNAME])
		field[HOSTNAME] = name && *name ? name : "mote";
	SYS(sethostname, field[HOSTNAME], text_len(field[HOSTNAME]));
	has_address = *field[CLIENT] >= '0' && *field[CLIENT] <= '9';
	/* Debian's address for a machine that has no fixed one of its own */
	net_resolve_name(field[HOSTNAME],
			 has_address ? field[CLIENT] : "127.0.1.1");
	if (has_address) {
		result = fd < 0 ? fd : net_set_address(fd, field);
		if (result)
			stream_note("cannot set up the network as in ip=", ip,
				    result);
	}
	SYS(close, fd);
}
