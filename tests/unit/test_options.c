/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/options/help.c cpu/loop/file.c mem/log.c */
/* uses: tests/unit/options_run.c */
/*
 * The command line of mote: what each option stores, --help, and the promises
 * that the table makes to those who read it. What is refused is next door, in
 * test_options_refused.c.
 */
#include <limits.h>
#include <stdlib.h>

#include "tests/unit/options_run.h"

#define GIB (1ULL << 30)
#define MIB (1ULL << 20)

/* -- what is accepted ------------------------------------------------------ */

static void test_defaults(void **state)
{
	(void)state;
	accepts("-k vmlinux");
	assert_string_equal(options.kernel.path, "vmlinux");
	assert_int_equal(options.kernel.fd, -1);
	assert_false(options.kernel_copy);
	assert_int_equal(options.initrd_count, 0);
	assert_int_equal(options.append_count, 0);
	assert_null(options.cmdline);
	assert_int_equal(options.ram.size, 256 * MIB);
	assert_int_equal(options.ram.pages, RAM_PAGES_OFF);
	assert_false(options.ram.prefault);
	assert_false(options.ram.mergeable);
	assert_int_equal(options.cpus, 1);
	assert_false(options.nested);
	assert_int_equal(options.serial.kind, CONSOLE_STDIO);
	assert_null(options.serial.file.path);
	assert_int_equal(options.serial.file.fd, -1);
	assert_int_equal(options.timeout_ns, 0);
	assert_null(options.events.path);
	assert_int_equal(options.events.fd, -1);
	assert_int_equal(options.events_every_ns, 0);
	assert_null(options.kvm.path);
	assert_int_equal(options.kvm.fd, -1);
	assert_int_equal(options.sandbox, SANDBOX_ON);
	assert_int_equal(options.sandbox_cores, SANDBOX_CORES_OWN);
	assert_null(options.user.text);
	assert_int_equal(options.user.uid, 65534);
	assert_int_equal(options.user.gid, 65534);
	assert_null(options.netns.path);
	assert_int_equal(options.netns.fd, -1);
	assert_null(options.cgroup.path);
	assert_int_equal(options.cgroup.fd, -1);
	assert_false(options.timing);
	assert_int_equal(options.log, LOG_WARN);
	assert_false(options.check);
}

static void test_every_option(void **state)
{
	(void)state;
	accepts("--kernel=k,copy --initrd a --initrd=fd=7 --append x=1,2 "
		"--append=y --memory 1G,hugepages=thp,prefault,mergeable "
		"--cpus=8,nested --serial file=out --timeout 2m --events=ev "
		"--timing --log debug --check --kvm fd=9 --sandbox "
		"log,core-scheduling=off "
		"--user 10:20 --netns /run/netns/a --cgroup=/sys/fs/cgroup/a");
	assert_string_equal(options.kernel.path, "k");
	assert_true(options.kernel_copy);
	assert_int_equal(options.initrd_count, 2);
	assert_string_equal(options.initrds[0].path, "a");
	assert_int_equal(options.initrds[0].fd, -1);
	assert_null(options.initrds[1].path);
	assert_int_equal(options.initrds[1].fd, 7);
	assert_int_equal(options.append_count, 2);
	assert_string_equal(options.append[0], "x=1,2");
	assert_string_equal(options.append[1], "y");
	assert_int_equal(options.ram.size, GIB);
	assert_int_equal(options.ram.pages, RAM_PAGES_THP);
	assert_true(options.ram.prefault);
	assert_true(options.ram.mergeable);
	assert_int_equal(options.cpus, 8);
	assert_true(options.nested);
	assert_int_equal(options.serial.kind, CONSOLE_FILE);
	assert_string_equal(options.serial.file.path, "out");
	assert_int_equal(options.timeout_ns, 120000000000);
	assert_string_equal(options.events.path, "ev");
	assert_true(options.timing);
	assert_int_equal(options.log, LOG_DEBUG);
	assert_true(options.check);
	assert_int_equal(options.kvm.fd, 9);
	assert_int_equal(options.sandbox, SANDBOX_LOG);
	assert_int_equal(options.sandbox_cores, SANDBOX_CORES_SHARED);
	assert_int_equal(options.user.uid, 10);
	assert_int_equal(options.user.gid, 20);
	assert_string_equal(options.netns.path, "/run/netns/a");
	assert_string_equal(options.cgroup.path, "/sys/fs/cgroup/a");
}

static void test_user(void **state)
{
	(void)state;
	accepts("-k k --user 0");
	assert_int_equal(options.user.uid, 0);
	assert_int_equal(options.user.gid, 0);
	accepts("-k k --user 1000");
	assert_int_equal(options.user.uid, 1000);
	assert_int_equal(options.user.gid, 1000);
	accepts("-k k --user=4294967294:00");
	assert_int_equal(options.user.uid, 4294967294u);
	assert_int_equal(options.user.gid, 0);
	accepts("-k k --user 1 --user 2");
	assert_int_equal(options.user.uid, 2);
}

/* In order, and each once, whichever kind of option it is. */
static void test_descriptors(void **state)
{
	static const struct option_fd given[] = {
		{ 3, "initrd" }, { 5, "events" }, { 6, "serial" },
		{ 8, "kernel" }, { 10, "net" },	  { 11, "vsock" },
		{ 20, "disk" },	 { 21, "kvm" },	  { 30, "initrd" },
	};
	const struct option_parsed *parsed = &options.parsed;

	(void)state;
	accepts("-k fd=8 -i fd=30 -i b -i fd=3 -d fd=20 -n fd=10 -n tap=t "
		"--serial fd=6 --events fd=5 --kvm fd=21 --vsock fd=11");
	assert_int_equal(parsed->fd_count, ARRAY_LEN(given));
	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		assert_int_equal(parsed->fds[i].fd, given[i].fd);
		assert_string_equal(parsed->fds[i].option, given[i].option);
		assert_string_equal(optparse_fd_owner(parsed, given[i].fd),
				    given[i].option);
	}
	assert_null(optparse_fd_owner(parsed, 4));
	/* The same by paths, as shells write them. */
	accepts("-k /dev/fd/8 -i /proc/self/fd/30 -i b -i /dev/fd/3 "
		"-d /dev/fd/20 -n unix=/dev/fd/10 -n tap=/dev/fd/4 "
		"--serial file=/dev/fd/6 --events /dev/fd/5 "
		"--kvm /proc/self/fd/21 --vsock /dev/fd/11,cid=4");
	assert_int_equal(parsed->fd_count, ARRAY_LEN(given));
	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		assert_int_equal(parsed->fds[i].fd, given[i].fd);
		assert_string_equal(parsed->fds[i].option, given[i].option);
	}
	assert_null(options.kernel.path);
	assert_int_equal(options.serial.kind, CONSOLE_FD);
	assert_int_equal(options.devices.nets[0].kind, NET_FD);
	assert_int_equal(options.devices.nets[1].kind, NET_TAP);
	accepts("-k k --serial unix=/dev/stdin");
	assert_int_equal(options.serial.kind, CONSOLE_FD);
	assert_int_equal(options.serial.file.fd, 0);
	refuses("-k /dev/stdin", "--kernel takes fd=0, which is stdin");
	refuses("-k /dev/fd/3 -i fd=3", "--kernel and --initrd both take fd=3");
	accepts("-k fd=3 -k k");
	assert_int_equal(parsed->fd_count, 0);
}

static void test_disks(void **state)
{
	const struct block_options *disks = options.devices.disks;

	(void)state;
	accepts("-k k -d a -d b,ephemeral,size=4G,root -d fd=9,size=1536,"
		"ephemeral,direct");
	assert_int_equal(options.devices.disk_count, 3);
	assert_int_equal(disks[0].size, 0);
	assert_true(disks[1].size == 4 * GIB && disks[1].ephemeral);
	assert_int_equal(disks[2].size, 1536);
}

static void expect_publish(unsigned i, const char *address, unsigned port,
			   unsigned guest_port, bool udp)
{
	const struct passt_publish *p = &options.devices.nets[1].publish[i];

	assert_string_equal(p->address, address);
	assert_int_equal(p->port, port);
	assert_int_equal(p->guest_port, guest_port);
	assert_int_equal(p->udp, udp);
}

/* They are of the first network that can have them. */
static void test_publish(void **state)
{
	const struct net_options *nets = options.devices.nets;

	(void)state;
	accepts("-k k -n tap=a -n user -n user -p 80 -p 8080:1/tcp "
		"-p 80:81/udp --publish 127.0.0.1:65535 -p [::1]:1:65535 "
		"-p [fd00::2]:2/udp");
	assert_int_equal(nets[1].kind, NET_USER);
	assert_int_equal(nets[0].publish_count, 0);
	assert_int_equal(nets[1].publish_count, 6);
	assert_int_equal(nets[2].publish_count, 0);
	expect_publish(0, "", 80, 80, false);
	expect_publish(1, "", 8080, 1, false);
	expect_publish(2, "", 80, 81, true);
	expect_publish(3, "127.0.0.1", 65535, 65535, false);
	expect_publish(4, "::1", 1, 65535, false);
	expect_publish(5, "fd00::2", 2, 2, true);
	accepts("-k k -n user,mtu=1500,mac=02:00:00:00:00:01");
	assert_int_equal(nets[0].publish_count, 0);
	/* Which nets a snapshot has is not known yet. */
	accepts("--restore s -p 80");
	options.restore.whole = true;
	assert_int_equal(options_check(&options), -EINVAL);
}

static void test_nets(void **state)
{
	static const uint8_t mac[] = { 0x02, 0xaB, 0xcd, 0xEF, 0x09, 0 };
	const struct net_options *nets = options.devices.nets;

	(void)state;
	accepts("-k k -n tap=tap0 --net unix=/run/a,,b,mtu=9000,bw=10M,pps=7 "
		"-nfd=9,mac=02:aB:cd:EF:09:00");
	assert_int_equal(options.devices.net_count, 3);
	assert_int_equal(nets[0].kind, NET_TAP);
	assert_string_equal(nets[0].file.path, "tap0");
	assert_int_equal(nets[0].file.fd, -1);
	assert_null(nets[0].mac_text);
	assert_int_equal(nets[0].mtu, 0);
	assert_int_equal(nets[0].bytes_per_s, 0);
	assert_int_equal(nets[0].packets_per_s, 0);
	assert_int_equal(nets[1].kind, NET_UNIX);
	assert_string_equal(nets[1].file.path, "/run/a,b");
	assert_int_equal(nets[1].mtu, 9000);
	assert_int_equal(nets[1].bytes_per_s, 10 * MIB);
	assert_int_equal(nets[1].packets_per_s, 7);
	assert_int_equal(nets[2].kind, NET_FD);
	assert_int_equal(nets[2].file.fd, 9);
	assert_memory_equal(nets[2].mac, mac, sizeof(mac));
}

static void test_addresses(void **state)
{
	const struct net_options *nets = options.devices.nets;

	(void)state;
	accepts("-k k -n tap=a,ip=10.0.2.15/24,gw=10.0.2.2,dns=10.0.2.3,"
		"ip=fd00::2/64,dns=fd00::3,gw=fe80::1,mtu=1400 "
		"-n tap=b,ip=dhcp,ip=fd01::2/128 -n tap=c,ip=off -n tap=d "
		"-n tap=e,dns=1.1.1.1 -- true");
	assert_string_equal(nets[0].ip[0], "10.0.2.15/24");
	assert_string_equal(nets[0].ip[1], "fd00::2/64");
	assert_null(nets[0].ip[2]);
	assert_string_equal(nets[0].gw[0], "10.0.2.2");
	assert_string_equal(nets[0].gw[1], "fe80::1");
	assert_string_equal(nets[0].dns[0], "10.0.2.3");
	assert_string_equal(nets[0].dns[1], "fd00::3");
	assert_null(nets[0].dns[2]);
	assert_int_equal(nets[0].mtu, 1400);
	assert_string_equal(nets[1].ip[0], "dhcp");
	assert_null(nets[1].gw[0]);
	assert_string_equal(nets[2].ip[0], "off");
	assert_null(nets[3].ip[0]);
	assert_string_equal(nets[4].dns[0], "1.1.1.1");
	/* a gateway by DHCP, of a router, or one that is told */
	accepts("-k k -n tap=a,ip=dhcp,gw=10.0.2.2,gw=fd00::1 -- true");
	accepts("-k k -n tap=a,gw=fd00::1 -- true");
	accepts("-k k -n tap=a,ip=10.0.0.0/31,gw=10.0.0.1 -- true");
	accepts("-k k -n tap=a,ip=10.0.0.5/32 -- true");
	/* the kernel's word */
	accepts("-k k -n tap=a,ip=10.0.2.15/24,gw=10.0.2.2,dns=10.0.2.3 "
		"-n tap=b,ip=off -n tap=c");
}

/* It is taken, and warned of. */
static void test_gateway_elsewhere(void **state)
{
	(void)state;
	assert_int_equal(run_line("-k k -n tap=a,ip=10.0.2.15/32,gw=10.0.2.2 "
				  "-- true"),
			 0);
	assert_non_null(strstr(output, "--net gw: '10.0.2.2' is in no network "
				       "that ip= gives"));
	assert_int_equal(run_line("-k k -n tap=a,ip=fd00::2/64,gw=fd01::1 "
				  "-- true"),
			 0);
	assert_non_null(strstr(output, "'fd01::1' is in no network"));
}

static void test_serial_file(void **state)
{
	(void)state;
	accepts("-k k --serial file=f");
	assert_false(options.serial.append);
	assert_int_equal(options.serial.max, 0);
	accepts("-k k --serial file=f,append,max=64K");
	assert_string_equal(options.serial.file.path, "f");
	assert_true(options.serial.append);
	assert_int_equal(options.serial.max, 65536);
}

static void test_queues(void **state)
{
	(void)state;
	accepts("-k k -d a -d b,queues=1 -d c,queues=16");
	assert_int_equal(options.devices.disks[0].queues, 0);
	assert_int_equal(options.devices.disks[1].queues, 1);
	assert_int_equal(options.devices.disks[2].queues, 16);
}

static void test_rates(void **state)
{
	const struct net_options *nets = options.devices.nets;

	(void)state;
	accepts("-k k -n tap=a,bw=10M/s -n tap=b,bw=1KiB/s -n tap=c,bw=7 "
		"-d d,bw=10MB/s,iops=1000/s");
	assert_int_equal(nets[0].bytes_per_s, 10 * MIB);
	assert_int_equal(nets[1].bytes_per_s, 1024);
	assert_int_equal(nets[2].bytes_per_s, 7);
	assert_int_equal(options.devices.disks[0].bytes_per_s, 10 * MIB);
	assert_int_equal(options.devices.disks[0].ops_per_s, 1000);
}

static void test_vsock(void **state)
{
	(void)state;
	accepts("-k k");
	assert_null(options.devices.vsock.file.path);
	accepts("-k k --vsock guest.sock");
	assert_string_equal(options.devices.vsock.file.path, "guest.sock");
	assert_int_equal(options.devices.vsock.cid, 3);
	accepts("-k k --vsock=a,,b,cid=4294967294");
	assert_string_equal(options.devices.vsock.file.path, "a,b");
	assert_int_equal(options.devices.vsock.cid, 0xfffffffe);
	accepts("-k k --vsock fd=5");
	assert_null(options.devices.vsock.file.path);
	assert_int_equal(options.devices.vsock.file.fd, 5);
}

static void test_exec(void **state)
{
	(void)state;
	accepts("-k k");
	assert_false(file_is_given(&options.exec));
	accepts("--exec g.sock -te A=1 -w /src --timeout 3s -- sh -c x");
	assert_string_equal(options.exec.path, "g.sock");
	assert_true(options.tty);
	assert_string_equal(options.command[0], "sh");
	accepts("--exec fd=5 --sandbox log --user 1:2 --log info -- sh");
	assert_int_equal(options.exec.fd, 5);
}

static void test_short_forms(void **state)
{
	(void)state;
	accepts("-kvmlinux -m128M -c 2 -ia -i b -aquiet");
	assert_string_equal(options.kernel.path, "vmlinux");
	assert_int_equal(options.ram.size, 128 * MIB);
	assert_int_equal(options.cpus, 2);
	assert_int_equal(options.initrd_count, 2);
	assert_string_equal(options.initrds[1].path, "b");
	assert_string_equal(options.append[0], "quiet");
	accepts("-k vmlinux --");
}

static void test_sizes(void **state)
{
	static const struct {
		const char *line;
		uint64_t size;
	} cases[] = {
		{ "-k k -m 32", 32 * MIB },
		{ "-k k -m 64m", 64 * MIB },
		{ "-k k -m 40000K", 40000 << 10 },
		{ "-k k -m 65536k", 64 * MIB },
		{ "-k k -m 007G", 7 * GIB },
		{ "-k k -m 5g", 5 * GIB },
		{ "-k k -m 4T", 4096 * GIB },
		{ "-k k -m 512MB", 512 * MIB },
		{ "-k k -m 512MiB", 512 * MIB },
		{ "-k k -m 512mib", 512 * MIB },
		{ "-k k -m 1GB", GIB },
		{ "-k k -m 65536kb", 64 * MIB },
		{ "-k k -m 4194304", 4096 * GIB },
		{ "-k k -m 1G,hugepages=1G", GIB },
		{ "-k k -m 34M,hugepages=2M", 34 * MIB },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		accepts(cases[i].line);
		assert_int_equal(options.ram.size, cases[i].size);
	}
}

static void test_durations(void **state)
{
	static const struct {
		const char *line;
		uint64_t ns;
	} cases[] = {
		{ "-k k --timeout 0", 0 },
		{ "-k k --timeout 10", 10000000000 },
		{ "-k k --timeout 10s", 10000000000 },
		{ "-k k --timeout 500ms", 500000000 },
		{ "-k k --timeout=2m", 120000000000 },
		{ "-k k --timeout=1h", 3600000000000 },
		{ "-k k --timeout=8760h", 31536000000000000 },
		{ "-k k --timeout=1d", 86400000000000 },
		{ "-k k --timeout=365d", 31536000000000000 },
		{ "-k k --timeout=1h30m", 5400000000000 },
		{ "-k k --timeout=1d1h1m1s1ms", 90061001000000 },
		{ "-k k --timeout=1m500ms", 60500000000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		accepts(cases[i].line);
		assert_int_equal(options.timeout_ns, cases[i].ns);
	}
	accepts("-k k --events e,every=100ms");
	assert_int_equal(options.events_every_ns, 100000000);
	accepts("-k k --events fd=5,every=1h");
	assert_int_equal(options.events_every_ns, 3600000000000);
	accepts("-k k --events e,every=1s --events e");
	assert_int_equal(options.events_every_ns, 0);
}

static void test_serial(void **state)
{
	static const struct {
		const char *line, *path;
		enum console_kind kind;
		int fd;
	} cases[] = {
		{ "-k k --serial stdio", NULL, CONSOLE_STDIO, -1 },
		{ "-k k --serial off", NULL, CONSOLE_OFF, -1 },
		{ "-k k --serial=pty", NULL, CONSOLE_PTY, -1 },
		{ "-k k --serial file=a=b,,c", "a=b,c", CONSOLE_FILE, -1 },
		{ "-k k --serial=unix=/s", "/s", CONSOLE_UNIX, -1 },
		{ "-k k --serial=fd=0", NULL, CONSOLE_FD, 0 },
		{ "-k k --serial fd=2147483647", NULL, CONSOLE_FD, INT_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		accepts(cases[i].line);
		assert_int_equal(options.serial.kind, cases[i].kind);
		assert_int_equal(options.serial.file.fd, cases[i].fd);
		if (!cases[i].path)
			assert_null(options.serial.file.path);
		else
			assert_string_equal(options.serial.file.path,
					    cases[i].path);
	}
}

static void test_commas(void **state)
{
	static const struct {
		const char *line, *path;
		bool copy;
	} cases[] = {
		{ "-k a,,b", "a,b", false },
		{ "-k a,,b,copy", "a,b", true },
		{ "-k ,,", ",", false },
		{ "-k ,,,copy", ",", true },
		{ "-k a,,,,b", "a,,b", false },
		{ "-k x=y", "x=y", false },
		{ "-k ./fd=3", "./fd=3", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		accepts(cases[i].line);
		assert_string_equal(options.kernel.path, cases[i].path);
		assert_int_equal(options.kernel_copy, cases[i].copy);
	}
	accepts("-k k --cmdline a=1,,2,x");
	assert_string_equal(options.cmdline, "a=1,,2,x");
}

/* argv itself is what ps(1) shows, and is not to be written to. */
static void test_argv_is_left_alone(void **state)
{
	char kernel[] = "a,,b,copy";
	char *argv[] = { (char[]){ "mote" }, (char[]){ "-k" }, kernel, NULL };

	(void)state;
	assert_int_equal(run_words(3, argv), 0);
	assert_string_equal(kernel, "a,,b,copy");
	assert_string_equal(options.kernel.path, "a,b");
}

static void test_last_one_counts(void **state)
{
	(void)state;
	accepts("-k a,copy -m 1G,prefault,hugepages=2M -c 4,nested "
		"--serial file=x -k b -m 64M -c 2 --serial off --check "
		"--check");
	assert_string_equal(options.kernel.path, "b");
	assert_false(options.kernel_copy);
	assert_int_equal(options.ram.size, 64 * MIB);
	assert_int_equal(options.ram.pages, RAM_PAGES_OFF);
	assert_false(options.ram.prefault);
	assert_int_equal(options.cpus, 2);
	assert_false(options.nested);
	assert_int_equal(options.serial.kind, CONSOLE_OFF);
	assert_null(options.serial.file.path);
}

static void test_empty_texts(void **state)
{
	(void)state;
	accepts("-k k --cmdline _");
	assert_string_equal(options.cmdline, "");
	accepts("-k k --cmdline=");
	assert_string_equal(options.cmdline, "");
	accepts("-k k -a _");
	assert_int_equal(options.append_count, 1);
	assert_string_equal(options.append[0], "");
}

static void test_no_words_at_all(void **state)
{
	char *none[] = { NULL };

	(void)state;
	assert_int_equal(run_words(0, none), -EINVAL);
	assert_non_null(strstr(output, "-k PATH"));
}

/* -- help ------------------------------------------------------------------ */

static int print(const char *line)
{
	struct capture capture;
	int count = split_line(line), done;

	capture_start(&capture, STDOUT_FILENO);
	done = options_parse(&options, count, argv_of);
	capture_end(&capture);
	return done;
}

static void test_help(void **state)
{
	char name[64];

	(void)state;
	assert_int_equal(print("--help"), 1);
	for (size_t i = 0; i < options_set.entry_count; i++) {
		const struct option_entry *entry = &options_set.entries[i];

		snprintf(name, sizeof(name), "--%s", entry->own.name);
		assert_non_null(strstr(output, name));
		for (const struct option_field *key = entry->keys;
		     key && key->name; key++) {
			snprintf(name, sizeof(name), "[,%s", key->name);
			assert_non_null(strstr(output, name));
		}
	}
	assert_non_null(strstr(output, "(default 256M)"));
	for (char *line = strtok(output, "\n"); line;
	     line = strtok(NULL, "\n")) {
		if (strlen(line) > 80)
			fail_msg("wider than 80 columns: %s", line);
		assert_null(strchr(line, '\t'));
		assert_int_not_equal(line[strlen(line) - 1], ' ');
	}
}

static void test_help_ends_parsing(void **state)
{
	(void)state;
	assert_int_equal(print("-hV --bogus"), 1);
	assert_non_null(strstr(output, "usage: mote"));
	assert_int_equal(print("-k a -V"), 1);
	assert_string_equal(output, "mote " MOTE_VERSION "\n");
	refuses("--bogus --help", "--bogus");
}

static void test_help_onto_full_disk(void **state)
{
	int saved, full;
	FILE *device = fopen("/dev/full", "w");

	(void)state;
	assert_non_null(device);
	fflush(stdout);
	full = fileno(device);
	saved = dup(STDOUT_FILENO);
	dup2(full, STDOUT_FILENO);
	assert_int_equal(run_line("--help"), -EIO);
	dup2(saved, STDOUT_FILENO);
	clearerr(stdout);
	close(saved);
	fclose(device);
	assert_non_null(strstr(output, "cannot write to stdout: No space"));
}

/* -- the table ------------------------------------------------------------- */

static void check_field(const struct option_field *field)
{
	struct option_where where = { .option = field->name };
	char number[OPTPARSE_FORMAT_BYTES];

	if (!option_takes_value(field))
		return;
	if (!field->example || (!field->value && !field->choices))
		fail_msg("%s: no example or no placeholder", field->name);
	assert_true(field->min <= field->max);
	if (field->kind == OPTION_SIZE || field->kind == OPTION_DURATION ||
	    field->kind == OPTION_NUMBER)
		assert_true(!field->initial /* not given */ ||
			    (field->initial >= field->min &&
			     field->initial <= field->max));
	if (field->kind == OPTION_ENUM)
		assert_true(options_default(field, number) ||
			    !field->initial /* options_check chooses */);
	/* The example is what the parser takes. */
	assert_int_equal(
		optparse_value(&where, field, field->example, &options), 0);
}

static void test_table(void **state)
{
	const struct option_entry *entries = options_set.entries;

	(void)state;
	for (size_t i = 0; i < options_set.entry_count; i++) {
		assert_non_null(entries[i].own.help);
		assert_non_null(entries[i].group);
		check_field(&entries[i].own);
		for (const struct option_field *key = entries[i].keys;
		     key && key->name; key++) {
			assert_non_null(key->help);
			check_field(key);
		}
		for (size_t j = 0; j < i; j++) {
			assert_string_not_equal(entries[i].own.name,
						entries[j].own.name);
			assert_false(entries[i].letter &&
				     entries[i].letter == entries[j].letter);
			/* A group is one piece of --help. */
			assert_false(
				option_opens_group(&options_set, &entries[i]) &&
				!strcmp(entries[i].group, entries[j].group));
		}
	}
}

/* What follows -- is taken as it is. */
static void test_command(void **state)
{
	(void)state;
	accepts("-k k");
	assert_null(options.command);
	accepts("-k k --");
	assert_null(options.command);
	accepts("-k k -i i -- sh -c _ -k --help -- x");
	assert_ptr_equal(options.command, argv_of + 6);
	assert_string_equal(options.command[0], "sh");
	assert_string_equal(options.command[2], "");
	assert_string_equal(options.command[5], "--");
	assert_string_equal(options.command[6], "x");
	assert_null(options.command[7]);
	assert_string_equal(options.kernel.path, "k");
	assert_false(options.tty);
	assert_null(options.workdir);
	assert_int_equal(options.env_count, 0);
	accepts("-k k -d d,root -t -e A=1 --env=B=x,y=2 -eC --workdir /a,b -- "
		"x");
	assert_true(options.tty);
	assert_int_equal(options.env_count, 3);
	assert_string_equal(options.env[0], "A=1");
	assert_string_equal(options.env[1], "B=x,y=2");
	assert_string_equal(options.env[2], "C");
	assert_string_equal(options.workdir, "/a,b");
	/* What would be in the way of the serial port on stdio is not here. */
	refuses("-k fd=0 -- x", "which is stdin of the command");
	refuses("-k k --events fd=1 --serial off -- x",
		"which is stdout of the command");
	refuses("-k k -t", "--tty is for a command");
	refuses("-k k -e A=1 --", "--env is for a command");
	refuses("-k k --workdir /a", "--workdir is for a command");
	refuses("-k k --env-file f", "--env-file is for a command");
	refuses("-k k --as 1", "--as is for a command");
	refuses("-k k --workdir a -- x", "begins with /");
	refuses("-k k -e =1 -- x", "has no name");
	refuses("-k k -e _ -- x", "has no name");
	refuses("-k k x", "no place for the word 'x'");
	accepts("-k k -d d -a root=/dev/vda -- x");
	accepts("-k k --cmdline root=/dev/vda -- x");
	accepts("-k k -w /a -- x");
	assert_string_equal(options.workdir, "/a");
}

#define LABEL_OF_63                                                            \
	"123456789012345678901234567890123456789012345678901234567890123"

static void test_whom_and_where(void **state)
{
	static const char *const good[] = {
		"0",	     "1000:1000", "app",
		"app:staff", "1000:app",  "4294967294:0",
		"a.b-c_d",   "007",	  "4294967296x",
	};
	static const char *const names[] = {
		"a", "web-1", "1", "A.b-c.9", LABEL_OF_63,
	};
	char line[400];

	(void)state;
	accepts("-k k -- x");
	assert_null(options.as);
	assert_null(options.hostname);
	assert_int_equal(options.env_file_count, 0);
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		snprintf(line, sizeof(line), "-k k --as %s -- x", good[i]);
		accepts(line);
		assert_string_equal(options.as, good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(line, sizeof(line), "-k k --hostname %s", names[i]);
		accepts(line);
		assert_string_equal(options.hostname, names[i]);
	}
	accepts("-k k --hostname a --cmdline c -- x");
	accepts("-k k --env-file a --env-file=fd=7 -- x");
	assert_int_equal(options.env_file_count, 2);
	assert_string_equal(options.env_files[0].path, "a");
	assert_int_equal(options.env_files[1].fd, 7);
}

/* An answer to a word that is an option by now would never be given. */
static void test_put(void **state)
{
	const struct transfer_options *put = options.puts;

	(void)state;
	accepts("-k k --put . --put a:b --put a:/b:/c/d,owner=keep "
		"--put fd=7:/e --put a,,b -- c");
	assert_int_equal(options.put_count, 5);
	assert_string_equal(put[0].file.path, ".");
	assert_null(put[0].guest);
	assert_int_equal(put[0].owner, TRANSFER_OWNER_ANY);
	assert_string_equal(put[1].file.path, "a:b");
	assert_null(put[1].guest);
	assert_string_equal(put[2].file.path, "a:/b");
	assert_string_equal(put[2].guest, "/c/d");
	assert_int_equal(put[2].owner, TRANSFER_OWNER_KEEP);
	assert_null(put[3].file.path);
	assert_int_equal(put[3].file.fd, 7);
	assert_string_equal(put[3].guest, "/e");
	assert_string_equal(put[4].file.path, "a,b");
	assert_string_equal(optparse_fd_owner(&options.parsed, 7), "put");
	accepts("-k k --put a --snapshot s,then=continue -- c");
	accepts("-k k --put a --snapshot s,on=program -- c");
	accepts("--restore s --put a");
}

static void test_get(void **state)
{
	const struct transfer_options *get = options.gets;

	(void)state;
	accepts("-k k --get /a/b --get /a:b:/c,owner=keep --get /a:fd=8 "
		"--get /a:- -- c");
	assert_int_equal(options.get_count, 4);
	assert_string_equal(get[0].guest, "/a/b");
	assert_false(file_is_given(&get[0].file));
	assert_string_equal(get[1].guest, "/a");
	assert_string_equal(get[1].file.path, "b:/c");
	assert_int_equal(get[1].owner, TRANSFER_OWNER_KEEP);
	assert_int_equal(get[2].file.fd, 8);
	assert_string_equal(optparse_fd_owner(&options.parsed, 8), "get");
	assert_true(transfer_is_stdout(&get[3]));
	assert_false(transfer_is_stdout(&get[2]));
}

static void test_foreign_words(void **state)
{
	const struct option_foreign *at = options_set.foreign;
	char words[512];

	(void)state;
	for (; at->words; at++) {
		snprintf(words, sizeof(words), "%s", at->words);
		for (char *word = strtok(words, " "); word && !at->option;
		     word = strtok(NULL, " "))
			for (size_t i = 0; i < options_set.entry_count; i++) {
				const struct option_entry *entry =
					&options_set.entries[i];

				assert_string_not_equal(word, entry->own.name);
				if (!word[1])
					assert_int_not_equal(*word,
							     entry->letter);
			}
	}
}

static void explains(const char *line, const char *expected)
{
	struct capture capture;

	accepts(line);
	capture_start(&capture, STDERR_FILENO);
	options_explain_root(&options);
	capture_end(&capture);
	if (!strstr(output, expected) || (!*expected && output[0]))
		fail_msg("mote %s: explained %s", line, output);
}

/* What a guest that found no root file system may have lacked. */
static void test_explain_root(void **state)
{
	(void)state;
	explains("-k k -d d", "Add `,root` to that one");
	explains("-k k -d d -a quiet -- x", "Add `,root` to that one");
	explains("-k k", "--disk PATH,root or --initrd PATH");
	explains("-k k -d d -d e,root", "");
	explains("-k k -i i -d d", "");
	explains("-k k -d d -a x -a root=/dev/vda1", "");
	explains("-k k -d d --cmdline root=/dev/vda", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_option),
		cmocka_unit_test(test_disks),
		cmocka_unit_test(test_nets),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_gateway_elsewhere),
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_serial_file),
		cmocka_unit_test(test_vsock),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_short_forms),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_serial),
		cmocka_unit_test(test_commas),
		cmocka_unit_test(test_argv_is_left_alone),
		cmocka_unit_test(test_last_one_counts),
		cmocka_unit_test(test_empty_texts),
		cmocka_unit_test(test_no_words_at_all),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_help_ends_parsing),
		cmocka_unit_test(test_help_onto_full_disk),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_whom_and_where),
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_foreign_words),
		cmocka_unit_test(test_explain_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
