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
 * hostname= is it, which a kernel before Linux 6.0 does not know. What mote
 * says of it (RUN_HOSTNAME) counts more than both.
 */
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "boot/init/init.h"

#define MAC_TEXT 17 /* characters */

enum ip_field { CLIENT, SERVER, GATEWAY, NETMASK, HOSTNAME, DEVICE, FIELDS };

static const char *net_field[FIELDS];

static bool net_has_address(void)
{
	return *net_field[CLIENT] >= '0' && *net_field[CLIENT] <= '9';
}

static void net_copy_name(char to[IFNAMSIZ], const char *name)
{
	for (size_t i = 0; i < IFNAMSIZ - 1 && name[i]; i++)
		to[i] = name[i];
}

static long net_set_up(int fd, const char *name, bool up)
{
	struct ifreq request = { .ifr_flags = 0 };
	short flags;
	long result;

	net_copy_name(request.ifr_name, name);
	result = SYS(ioctl, fd, SIOCGIFFLAGS, &request);
	flags = request.ifr_flags;
	request.ifr_flags = (short)(up ? flags | IFF_UP : flags & ~IFF_UP);
	return result || request.ifr_flags == flags
		       ? result
		       : SYS(ioctl, fd, SIOCSIFFLAGS, &request);
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

static long net_set_address(int fd)
{
	struct ifreq request = { .ifr_flags = 0 };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	long result = -EINVAL;

	net_copy_name(request.ifr_name, net_field[DEVICE]);
	if (net_parse_address(net_field[CLIENT], &request.ifr_addr))
		result = SYS(ioctl, fd, SIOCSIFADDR, &request);
	if (!result &&
	    net_parse_address(net_field[NETMASK], &request.ifr_netmask))
		result = SYS(ioctl, fd, SIOCSIFNETMASK, &request);
	if (!result)
		result = net_set_up(fd, net_field[DEVICE], true);
	if (result || !net_parse_address(net_field[GATEWAY], &route.rt_gateway))
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

void net_set_name(const char *name)
{
	SYS(sethostname, name, text_len(name));
	/* Debian's address for a machine that has no fixed one of its own */
	net_resolve_name(name,
			 net_has_address() ? net_field[CLIENT] : "127.0.1.1");
}

void net_start(const char *hostname)
{
	const char *ip = text_word("ip");
	const char *name = text_word("hostname");
	static struct text fields;
	char *at = fields.bytes;
	int fd = (int)SYS(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	long result;

	if (fd >= 0)
		net_set_up(fd, "lo", true);
	text_add(&fields, ip ? ip : "");
	for (int i = 0; i < FIELDS; i++) {
		net_field[i] = at;
		while (*at && *at != ':')
			at++;
		if (*at)
			*at++ = 0;
	}
	if (!*net_field[DEVICE])
		net_field[DEVICE] = "eth0";
	if (!*net_field[HOSTNAME])
		net_field[HOSTNAME] = name && *name ? name : "mote";
	if (hostname)
		net_field[HOSTNAME] = hostname;
	net_set_name(net_field[HOSTNAME]);
	if (net_has_address()) {
		result = fd < 0 ? fd : net_set_address(fd);
		if (result)
			stream_note("cannot set up the network as in ip=", ip,
				    result);
	}
	SYS(close, fd);
}

/* -- another address ------------------------------------------------------ */

/* The interface that has it: its name, in `names`; or NULL. */
static const char *net_find(struct names *names, const char *mac)
{
	const char *name;
	char has[32];

	if (!names_open(names, "/sys/class/net"))
		return NULL;
	while ((name = names_next(names))) {
		struct text path = { .len = 0 };

		text_add(text_add(&path, "/sys/class/net/"), name);
		text_read(text_add(&path, "/address")->bytes, has, sizeof(has));
		if (!memcmp(has, mac, MAC_TEXT)) {
			SYS(close, names->fd);
			return name;
		}
	}
	return NULL;
}

/*
 * There is none without its driver, and nothing to be done. It is down
 * meanwhile, where it was up: so what the kernel makes of the address (IPv6) is
 * made again. Routes through a gateway are gone then.
 */
void net_set_mac(const char *order)
{
	const char *mac = order + MAC_TEXT + 1;
	struct names names;
	const char *name = net_find(&names, order);
	struct ifreq request = { .ifr_flags = 0 };
	int fd = (int)SYS(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool was_up;
	long result = 0;

	if (name) {
		net_copy_name(request.ifr_name, name);
		SYS(ioctl, fd, SIOCGIFFLAGS, &request);
		was_up = request.ifr_flags & IFF_UP;
		net_set_up(fd, name, false);
		request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		for (int i = 0; i < 6; i++)
			request.ifr_hwaddr.sa_data[i] =
				(char)text_hex(mac + 3 * i);
		result = SYS(ioctl, fd, SIOCSIFHWADDR, &request);
		if (was_up)
			net_set_up(fd, name, true);
		if (!result && was_up && net_has_address() &&
		    text_same(name, net_field[DEVICE]))
			result = net_set_address(fd);
	}
	if (result)
		stream_note("cannot give an interface another address", mac,
			    result);
	SYS(close, fd);
}
