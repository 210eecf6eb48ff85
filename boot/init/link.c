/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces: found, up and down, their addresses and routes, of both
 * families, by rtnetlink (rtnetlink(7)), which says why it does not; what it
 * would be long for by ioctl(2), netdevice(7). Each call stands alone: nothing
 * is open or kept between them.
 */
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include "boot/init/init.h"

#define V6_TENTATIVE 0x40 /* IFA_F_TENTATIVE */
#define STEP_MS	     2
#define FIRST_MS     50 /* for an address at all, where IPv6 may be off */

/* -- ioctl ----------------------------------------------------------------- */

static struct ifreq link_request(const struct link *link)
{
	struct ifreq request = { .ifr_flags = 0 };

	for (size_t i = 0; i < IFNAMSIZ - 1 && link->name[i]; i++)
		request.ifr_name[i] = link->name[i];
	return request;
}

static long link_ioctl(unsigned long what, struct ifreq *request)
{
	const int fd = (int)SYS(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	long result = fd;

	if (fd < 0)
		return result;
	result = SYS(ioctl, fd, what, request);
	SYS(close, fd);
	return result;
}

bool link_named(struct link *link, const char *name)
{
	struct ifreq request;

	*link = (struct link){ .index = 0 };
	for (size_t i = 0; i < IFNAMSIZ - 1 && name[i]; i++)
		link->name[i] = name[i];
	request = link_request(link);
	if (link_ioctl(SIOCGIFINDEX, &request))
		return false;
	link->index = (unsigned)request.ifr_ifindex;
	if (!link_ioctl(SIOCGIFHWADDR, &request))
		memcpy(link->mac, request.ifr_hwaddr.sa_data,
		       sizeof(link->mac));
	return true;
}

bool link_found(struct link *link, const char *mac)
{
	struct names names;
	const char *name;
	char has[32];

	if (!names_open(&names, "/sys/class/net"))
		return false;
	while ((name = names_next(&names))) {
		struct text path = { .len = 0 };

		text_add(text_add(&path, "/sys/class/net/"), name);
		text_read(text_add(&path, "/address")->bytes, has, sizeof(has));
		if (!memcmp(has, mac, LINK_MAC_TEXT)) {
			SYS(close, names.fd);
			return link_named(link, name);
		}
	}
	return false;
}

bool link_is_up(const struct link *link)
{
	struct ifreq request = link_request(link);

	return !link_ioctl(SIOCGIFFLAGS, &request) &&
	       request.ifr_flags & IFF_UP;
}

long link_set_up(const struct link *link, bool up)
{
	struct ifreq request = link_request(link);
	long result = link_ioctl(SIOCGIFFLAGS, &request);
	const short flags = request.ifr_flags;

	request.ifr_flags = (short)(up ? flags | IFF_UP : flags & ~IFF_UP);
	return result || request.ifr_flags == flags
		       ? result
		       : link_ioctl(SIOCSIFFLAGS, &request);
}

long link_set_mac(const struct link *link, const char *mac)
{
	struct ifreq request = link_request(link);

	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	for (int i = 0; i < 6; i++)
		request.ifr_hwaddr.sa_data[i] = (char)text_hex(mac + 3 * i);
	return link_ioctl(SIOCSIFHWADDR, &request);
}

void link_set_mtu(const struct link *link, unsigned mtu)
{
	struct ifreq request = link_request(link);

	request.ifr_mtu = (int)mtu;
	link_ioctl(SIOCSIFMTU, &request);
}

/* Without its address 0.0.0.0 an interface has none (devinet(7)); it loses
 * those of IPv6 when it goes down. */
void link_clear(const struct link *link)
{
	const struct sockaddr_in none = { .sin_family = AF_INET };
	struct ifreq request = link_request(link);

	link_set_up(link, false);
	memcpy(&request.ifr_addr, &none, sizeof(none));
	link_ioctl(SIOCSIFADDR, &request);
}

/* -- rtnetlink ------------------------------------------------------------- */

struct netlink {
	struct nlmsghdr header;
	uint8_t bytes[192];
};

static void netlink_add(struct netlink *n, const void *from, size_t len)
{
	memcpy((uint8_t *)n + n->header.nlmsg_len, from, len);
	n->header.nlmsg_len += NLMSG_ALIGN((uint32_t)len);
}

static void netlink_add_attribute(struct netlink *n, unsigned short type,
				  const void *from, size_t len)
{
	const struct rtattr attribute = {
		.rta_len = (unsigned short)(sizeof(attribute) + len),
		.rta_type = type,
	};

	netlink_add(n, &attribute, sizeof(attribute));
	netlink_add(n, from, len);
}

static struct netlink netlink_begin(unsigned short type, unsigned short flags,
				    const void *family, size_t len)
{
	struct netlink n = { .header = { .nlmsg_len = NLMSG_HDRLEN,
					 .nlmsg_type = type } };

	n.header.nlmsg_flags =
		(unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
	netlink_add(&n, family, len);
	return n;
}

static long netlink_send(const struct netlink *n)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t more[512];
	} answer = { .header = { .nlmsg_type = 0 } };
	const int fd = (int)SYS(socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
				NETLINK_ROUTE);
	long result = fd;

	if (fd < 0)
		return result;
	result = SYS(write, fd, n, n->header.nlmsg_len);
	if (result >= 0)
		result = SYS(read, fd, &answer, sizeof(answer));
	SYS(close, fd);
	if (result < 0)
		return result;
	return answer.header.nlmsg_type == NLMSG_ERROR ? answer.error.error
						       : -EIO;
}

static bool address_is_v6(const struct address *a)
{
	return a->len == sizeof(a->bytes);
}

/* The user has said that it is theirs: nobody is asked whether it is. */
static long link_change_address(const struct link *link, unsigned short type,
				unsigned short flags, const struct address *a)
{
	const bool v6 = address_is_v6(a);
	const struct ifaddrmsg message = {
		.ifa_family = v6 ? AF_INET6 : AF_INET,
		.ifa_prefixlen = a->prefix,
		.ifa_flags = v6 ? IFA_F_NODAD : 0,
		.ifa_index = link->index,
	};
	struct netlink n =
		netlink_begin(type, flags, &message, sizeof(message));
	struct address all = *a;

	netlink_add_attribute(&n, IFA_LOCAL, a->bytes, a->len);
	netlink_add_attribute(&n, IFA_ADDRESS, a->bytes, a->len);
	for (unsigned bit = a->prefix; bit < 32; bit++)
		all.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	if (!v6 && a->prefix < 31)
		netlink_add_attribute(&n, IFA_BROADCAST, all.bytes, all.len);
	return netlink_send(&n);
}

long link_add_address(const struct link *link, const struct address *address)
{
	const long result = link_change_address(
		link, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, address);

	return result == -EEXIST ? 0 : result;
}

void link_remove_address(const struct link *link, const struct address *address)
{
	link_change_address(link, RTM_DELADDR, 0, address);
}

static long link_change_route(const struct link *link, unsigned short type,
			      unsigned rtm_flags, const struct route *route)
{
	const struct address *to = &route->to, *via = &route->via;
	const bool adds = type == RTM_NEWROUTE;
	const struct rtmsg message = {
		.rtm_family = address_is_v6(to) ? AF_INET6 : AF_INET,
		.rtm_dst_len = to->prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = via->len ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
		.rtm_flags = rtm_flags,
	};
	struct netlink n =
		netlink_begin(type, adds ? NLM_F_CREATE | NLM_F_REPLACE : 0,
			      &message, sizeof(message));

	if (to->prefix)
		netlink_add_attribute(&n, RTA_DST, to->bytes, to->len);
	if (via->len)
		netlink_add_attribute(&n, RTA_GATEWAY, via->bytes, via->len);
	netlink_add_attribute(&n, RTA_OIF, &link->index, sizeof(link->index));
	netlink_add_attribute(&n, RTA_PRIORITY, &route->metric,
			      sizeof(route->metric));
	return netlink_send(&n);
}

/* A gateway that is in no network of the interface's, as with addresses of /32,
 * is there all the same. */
long link_add_route(const struct link *link, const struct route *route)
{
	long result = link_change_route(link, RTM_NEWROUTE, 0, route);

	if (result == -ENETUNREACH || result == -EHOSTUNREACH)
		result = link_change_route(link, RTM_NEWROUTE, RTNH_F_ONLINK,
					   route);
	return result == -EEXIST ? 0 : result;
}

void link_remove_route(const struct link *link, const struct route *route)
{
	link_change_route(link, RTM_DELROUTE, 0, route);
}

/* -- IPv6 ------------------------------------------------------------------ */

/*
 * Each address of this interface's is to be asked for before it is used (RFC
 * 4862, 5.4), which takes a second. The other end is a host's, with nobody else
 * there, or one where the guest's address, from its MAC, is as unique as that.
 */
void link_trust_addresses(const struct link *link)
{
	struct text path = { .len = 0 };
	int fd;

	text_add(text_add(&path, "/proc/sys/net/ipv6/conf/"), link->name);
	fd = sys_open(text_add(&path, "/accept_dad")->bytes, O_WRONLY);
	SYS(write, fd, "0", 1);
	SYS(close, fd);
}

/* Two digits at a time, as they are all. */
static unsigned hex_field(const char **at)
{
	unsigned value = 0;

	for (; **at > ' '; *at += 2)
		value = value << 8 | text_hex(*at);
	*at += **at == ' ';
	return value;
}

/* Lines of /proc/net/if_inet6: address, index, prefix, scope, flags, name. */
struct link_v6 link_look_at_v6(const struct link *link)
{
	static char text[4096];
	struct link_v6 found = { false, false, false };

	/* A kernel without IPv6 is not waited for. */
	found.any = text_read("/proc/net/if_inet6", text, sizeof(text)) < 0;
	for (const char *at = text; *at; at++) {
		unsigned scope, flags;

		while (*at > ' ')
			at++;
		at += *at == ' ';
		if (hex_field(&at) == link->index) {
			found.any = true;
			hex_field(&at);
			scope = hex_field(&at);
			flags = hex_field(&at);
			found.tentative |= (flags & V6_TENTATIVE) != 0;
			found.global |= !scope;
		}
		while (*at && *at != '\n')
			at++;
		if (!*at)
			break;
	}
	return found;
}

void link_await_v6(const struct link *link, unsigned ms)
{
	for (unsigned i = 0; i < ms; i += STEP_MS) {
		const struct link_v6 v6 = link_look_at_v6(link);

		if (!v6.tentative && (v6.any || i >= FIRST_MS))
			return;
		sys_sleep_ms(STEP_MS);
	}
}
