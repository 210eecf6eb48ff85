/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/options/help.c cpu/loop/file.c mem/log.c */
/* uses: tests/unit/options_run.c */
/*
 * The command line of mote: mistakes. Each is refused with one line that says
 * which option it is about, what is allowed and, where there is one, the
 * nearest thing that would have been right.
 */
#include <stdlib.h>

#include "tests/unit/options_run.h"

struct mistake {
	const char *line, *says;
};

static const struct mistake in_words[] = {
	{ "_", "no place for the word ''" },
	{ "-", "no place for the word '-'" },
	{ "-k k vmlinux", "no place for the word 'vmlinux'" },
	{ "--kernal k", "'--kernal'; did you mean '--kernel'?" },
	{ "--mem 1G", "'--mem'; did you mean '--memory'?" },
	{ "--CPUS 1", "'--CPUS'; did you mean '--cpus'?" },
	{ "--evnets x", "'--evnets'; did you mean '--events'?" },
	{ "--qwertyuiop", "there is no option '--qwertyuiop'; 'mote" },
	{ "--=x", "there is no option '--=x'; 'mote --help'" },
	{ "-kernel k", "'-kernel'; did you mean '--kernel'?" },
	{ "-k k -X", "there is no option '-X'" },
	{ "-k k --check=yes", "--check: takes no value" },
	{ "--help=", "--help: takes no value" },
	{ "-k", "--kernel: needs a value: --kernel PATH|fd=N" },
	{ "-k k --timeout", "--timeout: needs a value" },
	{ "-m 1G", "add -k PATH" },
};

static const struct mistake in_keys[] = {
	{ "-k k,copi", "'copi' is not one of the keys copy; did you "
		       "mean 'copy'?" },
	{ "-k k,", "'' is not one of the keys copy" },
	{ "-k k,copy,copy", "'copy' is given twice" },
	{ "-k k,copy=1", "'copy' takes no value" },
	{ "-k k -m 1G,hugepage=2M", "did you mean 'hugepages'?" },
	{ "-k k -m 1G,hugepages", "hugepages=2M" },
	{ "-k k -m 1G,hugepages=4M", "--memory hugepages: '4M' is not "
				     "one of off, thp, 2M, 1G" },
	{ "-k k -m 1G,hugepages=2m", "did you mean '2M'?" },
	{ "-k k -i a,copy", "this option has no keys" },
	{ "-k k --log info,x", "this option has no keys" },
};

static const struct mistake in_values[] = {
	{ "-k _", "--kernel: the path is empty" },
	{ "-k ,copy", "--kernel: the path is empty" },
	{ "-k fd=", "'fd=' is not fd= and the number" },
	{ "-k fd=-1", "'fd=-1' is not" },
	{ "-k fd=3x", "'fd=3x' is not" },
	{ "-k fd=2147483648", "'fd=2147483648' is not" },
	{ "-k k --log loud", "'loud' is not one of error, warn, info, "
			     "debug" },
	{ "-k k --log wran", "did you mean 'warn'?" },
	{ "-k k --log _", "'' is not one of" },
	{ "-k k --serial stdoi", "did you mean 'stdio'?" },
	{ "-k k --serial fil=x", "did you mean 'file'?" },
	{ "-k k --serial file", "'file' needs a value: file=PATH" },
	{ "-k k --serial fd", "'fd' needs a value: fd=N" },
	{ "-k k --serial unix=", "the path is empty" },
	{ "-k k --serial off=1", "'off' takes no value" },
	{ "-k k --serial file=f,max=65535", "'65535' is not a size from 64K" },
	{ "-k k --serial unix=s,max=1M", "--serial max: is of a file" },
	{ "-k k --serial fd=5,append", "--serial append: is of a file" },
	{ "-k k --serial fd=x", "'fd=x' is not" },
	{ "-k k --put . ", "--put: it is for a command" },
	{ "-k k --get /a ", "--get: it is for a command" },
	{ "-k k --put fd=x:/a -- c", "'fd=x' is not" },
	{ "-k k --put .,owner=me -- c", "'me' is not one of any, keep" },
	{ "-k k --put fd=0 -- c", "is stdin of the command" },
	{ "-k k --get out -- c", "'out' is not a path of the guest" },
	{ "-k k --get out:o.tar -- c", "'out' is not a path of the guest" },
	{ "-k k --get /a: -- c", "the path is empty" },
	{ "-k k --get /a:- --get /b:- -- c", "only one can be -" },
	{ "-k k --get /a:fd=2 -- c", "fd=2 is mote's" },
	{ "-k k --put a --snapshot s -- c", "give it with --restore" },
	{ "-k k --get /a --snapshot s -- c", "give it with --restore" },
	{ "-k k --get /a --snapshot s,on=program -- c", "in clones" },
};

static const struct mistake in_nets[] = {
	{ "-k k -n tap0",
	  "'tap0' is not one of user, tap=NAME, fd=N, unix=PATH" },
	{ "-k k -n tap", "'tap' needs a value: tap=NAME" },
	{ "-k k -n tap=t,mc=1", "did you mean 'mac'?" },
	{ "-k k -n tap=t,mac=02:00:00:00:00", "is 14 bytes long; 17 to 17" },
	{ "-k k -n tap=t,mac=02:00:00:00:00:0g", "not six bytes in hex" },
	{ "-k k -n tap=t,mac=02-00-00-00-00-01", "not six bytes in hex" },
	{ "-k k -n tap=t,mac=02:00:00:00:00:+1", "not six bytes in hex" },
	{ "-k k -n tap=t,mac=01:00:00:00:00:01", "of no one interface" },
	{ "-k k -n tap=t,mac=00:00:00:00:00:00", "of no one interface" },
	{ "-k k -n tap=t,mac=02:00:00:00:00:0a -n tap=u "
	  "-n tap=v,mac=02:00:00:00:00:0A",
	  "two interfaces have '02:00:00:00:00:0A'" },
	{ "-k k -n tap=t,mtu=67", "68 to 65535" },
	{ "-k k -n tap=t,mtu=65536", "68 to 65535" },
	{ "-k k -n fd=5 -n fd=5", "--net and --net both take fd=5" },
	{ "-k k -n tap=1 -n tap=2 -n tap=3 -n tap=4 -n tap=5 -n tap=6 "
	  "-n tap=7 -n tap=8 -n tap=9",
	  "--net: given more than 8 times" },
	{ "-k k -n tap=t,ip=10.0.2.15 -- c", "no prefix length: 10.0.2.15/24" },
	{ "-k k -n tap=t,ip=fd00::2 -- c", "no prefix length: fd00::2/64" },
	{ "-k k -n tap=t,ip=auto -- c", "nor dhcp or off" },
	{ "-k k -n tap=t,ip=10.0.2/24 -- c", "'10.0.2/24' is no address" },
	{ "-k k -n tap=t,ip=10.0.2.15/33 -- c", "is no address" },
	{ "-k k -n tap=t,ip=10.0.2.15/0 -- c", "is no address" },
	{ "-k k -n tap=t,ip=10.0.2.15/ -- c", "is no address" },
	{ "-k k -n tap=t,ip=10.0.2.15/24x -- c", "is no address" },
	{ "-k k -n tap=t,ip=fd00::2/129 -- c", "is no address" },
	{ "-k k -n tap=t,ip=fd00::g/64 -- c", "is no address" },
	{ "-k k -n tap=t,ip=10.0.2.0/24 -- c", "of no one machine" },
	{ "-k k -n tap=t,ip=10.0.2.255/24 -- c", "of no one machine" },
	{ "-k k -n tap=t,ip=127.0.0.1/8 -- c", "of no one machine" },
	{ "-k k -n tap=t,ip=224.0.0.1/8 -- c", "of no one machine" },
	{ "-k k -n tap=t,ip=0.0.0.1/8 -- c", "of no one machine" },
	{ "-k k -n tap=t,ip=ff02::1/8 -- c", "of no one machine" },
	{ "-k k -n tap=t,ip=::/8 -- c", "of no one machine" },
	{ "-k k -n tap=t,ip=::1/128 -- c", "of no one machine" },
	{ "-k k -n tap=t,ip=dhcp,ip=dhcp -- c", "'dhcp' is given twice" },
	{ "-k k -n tap=t,ip=off,ip=dhcp -- c", "nothing else goes with it" },
	{ "-k k -n tap=t,ip=off,dns=1.1.1.1 -- c", "nothing else goes with" },
	{ "-k k -n tap=t,ip=aa,ip=bb,ip=cc,ip=dd,ip=ee -- c",
	  "--net ip: given more than 4 times" },
	{ "-k k -n tap=t,mtu=68,mtu=69", "'mtu' is given twice" },
	{ "-k k -n tap=t,gw=10.0.2.2 -- c", "is of no use without an address" },
	{ "-k k -n tap=t,ip=fd00::2/64,gw=10.0.2.2 -- c", "is of no use" },
	{ "-k k -n tap=t,ip=10.0.2.2/24,gw=10.0.2.2 -- c", "own address" },
	{ "-k k -n tap=t,ip=dhcp,gw=10.0.2.2,gw=10.0.2.3 -- c",
	  "is the second one of its family" },
	{ "-k k -n tap=t,ip=dhcp,gw=10.0.2.2/24 -- c", "no gateway's address" },
	{ "-k k -n tap=t,ip=dhcp,gw=224.0.0.1 -- c", "no gateway's address" },
	{ "-k k -n tap=t,dns=server -- c", "is no server's address" },
	{ "-k k -n tap=t,dns=0.0.0.0 -- c", "is no server's address" },
	{ "-k k -n tap=t,ip=fd00::2/64", "IPv6: the kernel's word ip= cannot" },
	{ "-k k -n tap=t,ip=dhcp,dns=fd00::2", "IPv6: the kernel's word ip=" },
	{ "-k k -n tap=t,dns=1.1.1.1", "gw= and dns= alone" },
	{ "-k k -n tap=t,ip=10.0.2.15/24,ip=10.0.2.16/24", "is one too many" },
	{ "-k k -n tap=t,ip=dhcp,dns=1.1.1.1,dns=1.1.1.2,dns=1.1.1.3",
	  "'1.1.1.3' is one too many" },
	{ "-k k -n tap=t,ip=dhcp -n tap=u,ip=dhcp", "is of one interface" },
};

static const struct mistake in_vsock[] = {
	{ "-k k --vsock", "--vsock" },
	{ "-k k --vsock ,cid=3", "--vsock" },
	{ "-k k --vsock v,cid=2", "3 to 4294967294" },
	{ "-k k --vsock v,cid=4294967295", "3 to 4294967294" },
	{ "-k k --vsock v,cid=x", "'x'" },
	{ "-k k --vsock v,cdi=3", "did you mean 'cid'?" },
};

#define PUBLISH(text) "-k k -n user -p " text
#define NOT_PUBLISH   "is not [ADDR:]PORT[:GUESTPORT][/udp]"
static const struct mistake in_publish[] = {
	{ PUBLISH("_"), "'' " NOT_PUBLISH },
	{ PUBLISH("0"), NOT_PUBLISH },
	{ PUBLISH("65536"), NOT_PUBLISH },
	{ PUBLISH("80:0"), NOT_PUBLISH },
	{ PUBLISH("80:65536"), NOT_PUBLISH },
	{ PUBLISH("18446744073709551617"), NOT_PUBLISH },
	{ PUBLISH("80:"), NOT_PUBLISH },
	{ PUBLISH(":80"), NOT_PUBLISH },
	{ PUBLISH("80:80:80"), NOT_PUBLISH },
	{ PUBLISH("80-90"), NOT_PUBLISH },
	{ PUBLISH("80,90"), NOT_PUBLISH },
	{ PUBLISH("+80"), NOT_PUBLISH },
	{ PUBLISH("80/sctp"), NOT_PUBLISH },
	{ PUBLISH("80/udp/tcp"), NOT_PUBLISH },
	{ PUBLISH("80/"), NOT_PUBLISH },
	{ PUBLISH("http"), NOT_PUBLISH },
	{ PUBLISH("127.0.0.1"), NOT_PUBLISH },
	{ PUBLISH("127.0.0.1:"), NOT_PUBLISH },
	{ PUBLISH("127.0.0:80"), NOT_PUBLISH },
	{ PUBLISH("127.0.0.256:80"), NOT_PUBLISH },
	{ PUBLISH("localhost:80"), NOT_PUBLISH },
	{ PUBLISH("[127.0.0.1]:80"), NOT_PUBLISH },
	{ PUBLISH("[::1]"), NOT_PUBLISH },
	{ PUBLISH("[::1]80"), NOT_PUBLISH },
	{ PUBLISH("[::1:80"), NOT_PUBLISH },
	{ PUBLISH("[]:80"), NOT_PUBLISH },
	{ PUBLISH("::1:80"), NOT_PUBLISH },
	{ PUBLISH("[fe80::1%eth0]:80"), NOT_PUBLISH },
	{ PUBLISH("1.1.1.1111111111111111111111111111111111111111111:80"),
	  NOT_PUBLISH },
	{ PUBLISH("80 -p 80"), "port 80/tcp is given twice" },
	{ PUBLISH("[::1]:80/udp -p 127.0.0.1:80:81/udp"), "port 80/udp" },
	{ "-k k -p 80", "add -n user" },
	{ "-k k -n tap=a -p 80", "add -n user" },
};

static const struct mistake in_user[] = {
	{ "-k k --user _", "--user: '' is 0 bytes long; 1 to 21" },
	{ "-k k --user nobody", "--user: 'nobody' is not one or two numbers" },
	{ "-k k --user 1:", "'1:' is not" },
	{ "-k k --user :1", "':1' is not" },
	{ "-k k --user 1:2:3", "'1:2:3' is not" },
	{ "-k k --user 1x", "'1x' is not" },
	{ "-k k --user -1", "'-1' is not" },
	{ "-k k --user 4294967295", "'4294967295' is not" },
	{ "-k k --user 1:4294967295", "'1:4294967295' is not" },
	{ "-k k --user 99999999999999999999", "is not one or two" },
	{ "-k k --user 1 --sandbox off", "--user is a part of the sandbox" },
	{ "-k k --sandbox none", "'none' is not one of on, off, log" },
};

#define LABEL_63                                                               \
	"123456789012345678901234567890123456789012345678901234567890123"

static const struct mistake in_as[] = {
	{ "-k k --as _ -- x", "--as: '' is 0 bytes long; 1 to 255" },
	{ "-k k --as :1 -- x", "--as: ':1' is not USER or USER:GROUP" },
	{ "-k k --as : -- x", "':' is not" },
	{ "-k k --as a: -- x", "'a:' is not" },
	{ "-k k --as a:b:c -- x", "'a:b:c' is not" },
	{ "-k k --as a:: -- x", "'a::' is not" },
	{ "-k k --as 4294967295 -- x", "'4294967295' is not" },
	{ "-k k --as 1:4294967295 -- x", "'1:4294967295' is not" },
	{ "-k k --as 99999999999999999999 -- x", "is not USER" },
	{ "-k k --hostname _", "--hostname: '' is 0 bytes long; 1 to 64" },
	{ "-k k --hostname a_b", "--hostname: 'a_b' is no host's name" },
	{ "-k k --hostname -a", "'-a' is no" },
	{ "-k k --hostname a-", "'a-' is no" },
	{ "-k k --hostname a.", "'a.' is no" },
	{ "-k k --hostname .a", "'.a' is no" },
	{ "-k k --hostname a..b", "'a..b' is no" },
	{ "-k k --hostname " LABEL_63 "4", "is no host's name" },
	{ "-k k --hostname 1." LABEL_63, "is 65 bytes long; 1 to 64" },
	{ "-k k --hostname a --cmdline c",
	  "which --cmdline replaces: write hostname=a there" },
	{ "-k k --env-file fd=0 -- x", "--env-file takes fd=0" },
};

/* Words of other programs, and what does it here. */
static const struct mistake in_habits[] = {
	{ "-k k -v /a:/b", "'-v': -V prints the version" },
	{ "-k k -v/a:/b", "--put DIR:/PATH" },
	{ "-k k --volume=/a:/b", "'--volume=/a:/b': --put DIR:/PATH" },
	{ "-k k --expose 80", "--net user -p 8080:80" },
	{ "-k k -u 1000 -- x", "'-u': --as USER[:GROUP] is" },
	{ "-k k --user app", "the command's user in the guest is --as" },
	{ "-k k --dns 1.1.1.1", "'--dns': these are keys: --net" },
	{ "-k k --network host", "'--network': --net user" },
	{ "-k k -netdev user,id=n", "'-netdev': --net user" },
	{ "-k k --smp 2", "'--smp': --cpus N" },
	{ "-kernel k -smp 2", "'-kernel'; did you mean '--kernel'?" },
	{ "-k k -smp 2", "'-smp': --cpus N" },
	{ "-k k --drive file=d", "'--drive': --disk PATH" },
	{ "-k k -drive file=d", "'-drive': --disk PATH" },
	{ "-k k -hda d", "'-hda': --disk PATH" },
	{ "-k k --rootfs d", "'--rootfs': --disk PATH,root" },
	{ "-k k -it -- sh", "'-it': -t is a terminal" },
	{ "-k k -ti -- sh", "'-ti': -t is a terminal" },
	/* Without an answer they would be -a ccel=kvm and -e nable-kvm. */
	{ "-k k -accel kvm", "'-accel': leave it out" },
	{ "-k k -enable-kvm", "'-enable-kvm': leave it out" },
	{ "-k k -M microvm", "'-M': leave it out" },
	{ "-k k --api-sock a", "'--api-sock': there is no API" },
	{ "-k k -n passt", "--net: 'passt' is not known here: --net user" },
	{ "-k k -n none", "leave --net out" },
	{ "-k k -n bridge=br0", "'bridge=br0' is not known here: --net tap" },
	{ "-k k -d path=d", "--disk: 'path=d' is not known here: the path" },
	{ "-k k -d d,format=raw", "'format=raw' is not known here: leave" },
	{ "-k k -d d,readonly", "'readonly' is not known here: ro" },
	{ "-k k -m size=1G", "--memory: 'size=1G' is not known here: the" },
	{ "-k k -c boot=2", "--cpus: 'boot=2' is not known here: their" },
	{ "-k k --serial none", "--serial: 'none' is not known here: off" },
	{ "-k k --serial mon:stdio", "stdio, where Ctrl-A ? helps" },
	{ "-k k sh -c x", "a command comes last, after --; there is no place" },
};

static const struct mistake in_together[] = {
	{ "-k k --kvm fd=4 --netns fd=4", "--kvm and --netns both take fd=4" },

	{ "-k k -a x --cmdline y", "--append adds to the default" },
	{ "-k k -m 32769K", "32769K is not a multiple of its pages" },
	{ "-k k -m 33M,hugepages=2M", "its pages of 2M" },
	{ "-k k -m 1025M,hugepages=1G", "its pages of 1G" },
	{ "-k k -m 1G,mergeable,hugepages=1G", "mergeable has no" },
	{ "-k k -d a,root -d b -d c,root", "2 disks have `root`" },
	{ "-k k -d a,size=4G", "--disk size: it is for a disk with" },
	{ "-k k -d a,size=4G,ephemeral,ro", "with `ephemeral` and without" },
	{ "-k k -d a,ephemeral,size=511",
	  "'511' is not a size from 512 to 64T" },
	{ "-k fd=3 -i fd=3", "--kernel and --initrd both take fd=3" },
	{ "-k k -i fd=4 -i fd=5 -i fd=4",
	  "--initrd and --initrd both take fd=4" },
	{ "-k fd=5 --serial fd=5", "--kernel and --serial both" },
	{ "-k k --serial fd=9 --events fd=9", "--serial and --events" },
	{ "-k fd=0", "--kernel takes fd=0, which is stdin" },
	{ "--exec fd=0 -- sh", "--exec takes fd=0, which is stdin" },
	{ "--exec s", "--exec: the command is missing: it stands last" },
	{ "--exec s -k k -- sh", "runs already, and --kernel is of the mote" },
	{ "--exec s -m 1G -- sh", "runs already, and --memory is of" },
	{ "--exec s --vsock t -- sh", "runs already, and --vsock is of" },
	{ "--exec s --check -- sh", "runs already, and --check is of" },
	{ "--exec s -w src -- sh", "--workdir is a directory of the guest" },
	{ "-k k --events fd=1", "--events takes fd=1, which is stdout" },
};

static const struct {
	const struct mistake *mistake;
	size_t count;
} mistakes[] = {
	{ in_words, ARRAY_LEN(in_words) },
	{ in_keys, ARRAY_LEN(in_keys) },
	{ in_values, ARRAY_LEN(in_values) },
	{ in_nets, ARRAY_LEN(in_nets) },
	{ in_vsock, ARRAY_LEN(in_vsock) },
	{ in_publish, ARRAY_LEN(in_publish) },
	{ in_user, ARRAY_LEN(in_user) },
	{ in_as, ARRAY_LEN(in_as) },
	{ in_habits, ARRAY_LEN(in_habits) },
	{ in_together, ARRAY_LEN(in_together) },
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(mistakes); k++)
		for (size_t i = 0; i < mistakes[k].count; i++)
			refuses(mistakes[k].mistake[i].line,
				mistakes[k].mistake[i].says);
	accepts("-k fd=0 --events fd=1 --serial off");
	accepts("-k k --events fd=2");
	accepts("-k fd=3 -k k -i fd=3");
}

static void test_numbers_refused(void **state)
{
	static const char *const junk[] = {
		"_",
		"-1",
		"+1",
		"0x10",
		"1.5",
		"1,5",
		"1K1",
		"K",
		"1KBs",
		"1KiBB",
		"1iB",
		"1K 1",
		"1h30",
		"30m1h",
		"1h1h",
		"1h-1m",
		"1/s",
		"1Kx",
		"one",
		"1e3",
		"99999999999999999999",
		"18446744073709551616",
		"18446744073709551615T",
		"1 ",
		" 1",
		/* These wrap to what would do. */
		"18446744073709551617",
		"18446744073709551872",
		"16777217T",
		"17592186044672",
	};
	static const struct {
		const char *option, *says;
	} options_of[] = {
		{ "-m",
		  "size from 32M to 4T, for example 512M (units: T, G, M, "
		  "K; without one: M)" },
		{ "-c", "number from 1 to 254, for example 2\n" },
		{ "--timeout", "duration from 0 to 365d, for example 90s "
			       "(units: d, h, m, s, ms; without one: s)" },
	};
	char *argv[] = { (char[]){ "mote" }, NULL, NULL, NULL };

	(void)state;
	for (size_t o = 0; o < ARRAY_LEN(options_of); o++)
		for (size_t i = 0; i < ARRAY_LEN(junk); i++) {
			const char *value = *junk[i] == '_' ? "" : junk[i];

			argv[1] = strdup(options_of[o].option);
			argv[2] = strdup(value);
			assert_int_equal(run_words(3, argv), -EINVAL);
			/* 1,5 is the value 1 and the key 5. */
			if (!strchr(value, ',') &&
			    !strstr(output, options_of[o].says))
				fail_msg("%s '%s': %s", argv[1], value, output);
			free(argv[1]);
			free(argv[2]);
		}
}

static void test_ranges(void **state)
{
	(void)state;
	refuses("-k k -m 31", "'31' is not a size from 32M");
	refuses("-k k -m 32767K", "'32767K' is not");
	refuses("-k k -m 5T", "'5T' is not");
	refuses("-k k -m 4194305", "'4194305' is not");
	refuses("-k k -m 0", "'0' is not");
	refuses("-k k -c 0", "'0' is not a number from 1 to 254");
	refuses("-k k -c 255", "'255' is not");
	refuses("-k k -c 4294967297", "'4294967297' is not");
	refuses("-k k -c 2K", "'2K' is not");
	refuses("-k k --timeout 8761h", "'8761h' is not");
	refuses("-k k --timeout 2M", "'2M' is not");
	refuses("-k k --timeout 365d1ms", "'365d1ms' is not");
	refuses("-k k --timeout 300d300d", "'300d300d' is not");
	refuses("-k k -m 512MB/s", "'512MB/s' is not a size");
	refuses("-k k -n tap=t,bw=10Mbit", "'10Mbit' is not a rate from 0");
	refuses("-k k -n tap=t,bw=10M/m", "'10M/m' is not");
	accepts("-k k -c 254");
}

static void test_too_many(void **state)
{
	const char *line = "-k k -ia -ia -ia -ia -ia -ia -ia -ia -ia -ia -ia "
			   "-ia -ia -ia -ia -ia -ia";

	(void)state;
	refuses(line, "--initrd: given more than 16 times");
	assert_int_equal(OPTIONS_INITRDS_MAX, 16);
	argv_of[split_line(line) - 1] = (char[]){ "--check" };
	assert_int_equal(run_words(OPTIONS_INITRDS_MAX + 4, argv_of), 0);
	assert_int_equal(options.initrd_count, OPTIONS_INITRDS_MAX);
}

/* Long words are shortened in messages and never overrun anything. */
static void test_long_words(void **state)
{
	enum { LEN = 100000 };
	static const char *const before[] = { "--",	   "-k",    "-m",
					      "--log=",	   "-k=a,", "-c1,",
					      "--serial=", "-kfd=", "" };
	char *argv[] = { (char[]){ "mote" }, NULL, NULL };
	char *word = malloc(LEN + 16);

	(void)state;
	assert_non_null(word);
	argv[1] = word;
	for (size_t i = 0; i < ARRAY_LEN(before); i++) {
		memset(word, 'x', LEN);
		memcpy(word, before[i], strlen(before[i]));
		word[LEN] = '\0';
		if (!strcmp(before[i], "-k")) {
			assert_int_equal(run_words(2, argv), 0);
			assert_ptr_equal(options.kernel.path, word + 2);
			continue;
		}
		assert_int_equal(run_words(2, argv), -EINVAL);
		assert_true(strlen(output) < 400);
		assert_ptr_equal(strchr(output, '\n'),
				 output + strlen(output) - 1);
	}
	memset(word, ',', LEN);
	word[0] = '-';
	word[1] = 'k';
	assert_int_equal(run_words(2, argv), -EINVAL);
	assert_non_null(strstr(output, "more than 16384 bytes"));
	free(word);
}

/* A path of `len` bytes and the key after it. */
static int parse_path_of(size_t len)
{
	static char word[OPTION_POOL_BYTES + 64] = "-k";
	char *argv[] = { (char[]){ "mote" }, word, NULL };

	memset(word + 2, 'x', len);
	memcpy(word + 2 + len, ",copy", sizeof(",copy"));
	return run_words(2, argv);
}

/* Values up to the last byte of the pool; the next one does not fit. */
static void test_pool_edge(void **state)
{
	const size_t all = OPTION_POOL_BYTES - 1; /* and a NUL */

	(void)state;
	assert_int_equal(parse_path_of(all - 1), 0);
	assert_int_equal(parse_path_of(all), 0);
	assert_int_equal(strlen(options.kernel.path), all);
	assert_true(options.kernel_copy);
	assert_int_equal(parse_path_of(all + 1), -EINVAL);
	assert_non_null(strstr(output, "more than 16384 bytes"));
}

static void test_control_bytes(void **state)
{
	char *argv[] = { (char[]){ "mote" }, (char[]){ "--\033[2J\nx\377" },
			 NULL };

	(void)state;
	assert_int_equal(run_words(2, argv), -EINVAL);
	assert_null(strchr(output, '\033'));
	assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_numbers_refused),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_long_words),
		cmocka_unit_test(test_pool_edge),
		cmocka_unit_test(test_control_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
