/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries one thing that programs in images ask a kernel for, and that Debian has
 * no small program for; status 0 and no word if it works.
 *
 *	calls userfaultfd | fanotify | io_uring | landlock | kprobe | inet_diag
 *	calls 9p DIR
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/inet_diag.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/sock_diag.h>
#include <linux/userfaultfd.h>

#define PAGE 4096u

/* `result` is an error if it is less than 0. */
static long must(long result, const char *what)
{
	if (result >= 0)
		return result;
	fprintf(stderr, "calls: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void must_be(bool fact, const char *what)
{
	if (fact)
		return;
	fprintf(stderr, "calls: %s\n", what);
	exit(1);
}

/* -- memory that somebody else fills in ------------------------------------ */

static int faults;

/* A thread: the fault has to be of its own address space. */
static void *fill_page(void *unused)
{
	static uint8_t filled[PAGE] = { 42 };
	struct uffd_msg message = { .event = 0 };
	struct uffdio_copy copy = { .src = (uintptr_t)filled, .len = PAGE };

	must(read(faults, &message, sizeof(message)), "read(userfaultfd)");
	must_be(message.event == UFFD_EVENT_PAGEFAULT, "no page fault");
	copy.dst = message.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
	must(ioctl(faults, UFFDIO_COPY, &copy), "UFFDIO_COPY");
	return unused;
}

static void try_userfaultfd(void)
{
	volatile uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)page, .len = PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	pthread_t filler;

	must_be(page != MAP_FAILED, "no memory");
	faults = (int)must(
		syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY),
		"userfaultfd");
	must(ioctl(faults, UFFDIO_API, &api), "UFFDIO_API");
	must(ioctl(faults, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
	must_be(!pthread_create(&filler, NULL, fill_page, NULL), "no thread");
	must_be(page[0] == 42, "the page is not what was copied");
	pthread_join(filler, NULL);
}

/* -- files that are watched ------------------------------------------------ */

static void try_fanotify(void)
{
	const int fd = (int)must(
		fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY),
		"fanotify_init");
	struct fanotify_event_metadata event = { .mask = 0 };
	struct fanotify_response answer = { .response = FAN_DENY };
	int status = 0;
	pid_t child;

	must(fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD,
			   "/etc/hosts"),
	     "fanotify_mark");
	child = (pid_t)must(fork(), "fork");
	if (!child)
		_exit(open("/etc/hosts", O_RDONLY) < 0 && errno == EPERM ? 0
									 : 1);
	must(read(fd, &event, sizeof(event)), "read(fanotify)");
	must_be(event.mask & FAN_OPEN_PERM, "it was not opened");
	answer.fd = event.fd;
	must(write(fd, &answer, sizeof(answer)), "write(fanotify)");
	waitpid(child, &status, 0);
	must_be(!status, "it could be opened");
}

/* -- one request that does nothing ----------------------------------------- */

static void try_io_uring(void)
{
	struct io_uring_params params = { .flags = 0 };
	const int fd = (int)must(syscall(SYS_io_uring_setup, 4, &params),
				 "io_uring_setup");
	uint8_t *ring = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			     fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					MAP_SHARED, fd, IORING_OFF_SQES);
	const struct io_uring_cqe *cqe;

	must_be(ring != MAP_FAILED && (void *)sqe != MAP_FAILED, "no rings");
	must_be(params.features & IORING_FEAT_SINGLE_MMAP, "two rings");
	sqe->opcode = IORING_OP_NOP;
	sqe->user_data = 42;
	*(unsigned *)(void *)(ring + params.sq_off.array) = 0;
	__atomic_store_n((unsigned *)(void *)(ring + params.sq_off.tail), 1,
			 __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL,
		     0),
	     "io_uring_enter");
	cqe = (void *)(ring + params.cq_off.cqes);
	must_be(cqe->user_data == 42 && !cqe->res, "another completion");
}

/* -- a program that gives up rights ---------------------------------------- */

static void try_landlock(void)
{
	const struct landlock_ruleset_attr rules = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_WRITE_FILE |
				     LANDLOCK_ACCESS_FS_MAKE_REG,
	};
	const int fd = (int)must(
		syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0),
		"landlock_create_ruleset");

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	must(syscall(SYS_landlock_restrict_self, fd, 0),
	     "landlock_restrict_self");
	must_be(open("/landlock", O_WRONLY | O_CREAT, 0600) < 0 &&
			errno == EACCES,
		"a file could be made all the same");
}

/* -- a program in the kernel, which counts ----------------------------------
 */

#define FUNCTION "do_sys_openat2"

static long call_bpf(int command, union bpf_attr *attr, const char *what)
{
	return must(syscall(SYS_bpf, command, attr, sizeof(*attr)), what);
}

/* map[0] += 1, as clang makes it of a program for bpftrace's count(). */
static int load_counter(int map)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 10, .off = -4 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X,
		  .dst_reg = 2,
		  .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD, .dst_reg = 2, .imm = -4 },
		{ .code = BPF_LD | BPF_IMM | BPF_DW,
		  .dst_reg = 1,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = map },
		{ .code = 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .off = 2 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = 1 },
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW,
		  .src_reg = 1,
		  .imm = BPF_ADD },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_KPROBE,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(*code),
		.license = (uintptr_t) "GPL",
	};

	return (int)call_bpf(BPF_PROG_LOAD, &attr, "BPF_PROG_LOAD");
}

static int open_kprobe(void)
{
	struct perf_event_attr event = {
		.size = sizeof(event),
		.config1 = (uintptr_t)FUNCTION,
	};
	FILE *type = fopen("/sys/bus/event_source/devices/kprobe/type", "r");

	must_be(type && fscanf(type, "%u", &event.type) == 1,
		"there are no kprobes");
	fclose(type);
	return (int)must(syscall(SYS_perf_event_open, &event, -1, 0, -1,
				 PERF_FLAG_FD_CLOEXEC),
			 "perf_event_open");
}

static void try_kprobe(void)
{
	union bpf_attr make = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8,
		.max_entries = 1,
	};
	const int map = (int)call_bpf(BPF_MAP_CREATE, &make, "BPF_MAP_CREATE");
	const int code = load_counter(map), probe = open_kprobe();
	uint32_t key = 0;
	uint64_t count = 0;
	union bpf_attr look = {
		.map_fd = (uint32_t)map,
		.key = (uintptr_t)&key,
		.value = (uintptr_t)&count,
	};

	must(ioctl(probe, PERF_EVENT_IOC_SET_BPF, code), "SET_BPF");
	must(ioctl(probe, PERF_EVENT_IOC_ENABLE, 0), "ENABLE");
	for (int i = 0; i < 3; i++)
		close(open("/etc/hosts", O_RDONLY));
	call_bpf(BPF_MAP_LOOKUP_ELEM, &look, "BPF_MAP_LOOKUP_ELEM");
	must_be(count >= 3, FUNCTION " was not counted");
}

/* -- sockets, listed by the kernel -------------------------------------------
 */

static void try_inet_diag(void)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 body;
	} ask = {
		.header = { .nlmsg_len = sizeof(ask),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .sdiag_family = AF_INET,
			  .sdiag_protocol = IPPROTO_TCP,
			  .idiag_states = ~0U },
	};
	struct nlmsghdr answer[64] = { { .nlmsg_type = NLMSG_ERROR } };
	const int listener =
			  (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket"),
		  fd = (int)must(
			  socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG),
			  "socket(NETLINK_SOCK_DIAG)");

	must(listen(listener, 1), "listen");
	must(send(fd, &ask, sizeof(ask), 0), "send");
	must(recv(fd, answer, sizeof(answer), 0), "recv");
	must_be(answer->nlmsg_type == SOCK_DIAG_BY_FAMILY, "no socket listed");
}

/* -- a file system at the other end of a descriptor --------------------------
 */

/* 9P2000.L: messages, and the parts of them that are of interest here */
enum { RLERROR = 7, TGETATTR = 24, TVERSION = 100, TATTACH = 104 };
#define QID_DIR	    0x80
#define GETATTR_LEN 153u

struct message {
	uint32_t size;
	uint8_t type;
	uint16_t tag;
	uint8_t body[8192];
} __attribute__((packed));

/* What is answered: a directory is all that there is. */
static void serve_message(int fd, struct message *m)
{
	const uint8_t qid[13] = { QID_DIR, 0, 0, 0, 0, 1 };
	const uint32_t mode = S_IFDIR | 0751;
	uint32_t len;

	switch (m->type) {
	case TVERSION: /* the same */
		len = m->size - 7;
		break;
	case TATTACH:
		memcpy(m->body, qid, sizeof(qid));
		len = sizeof(qid);
		break;
	case TGETATTR:
		memset(m->body, 0, GETATTR_LEN);
		m->body[0] = 0xff;
		m->body[1] = 7;
		memcpy(m->body + 8, qid, sizeof(qid));
		memcpy(m->body + 21, &mode, sizeof(mode));
		m->body[33] = 2; /* links */
		len = GETATTR_LEN;
		break;
	default:
		len = 4;
		memcpy(m->body, &(uint32_t){ EOPNOTSUPP }, len);
		m->type = RLERROR - 1;
	}
	m->type++;
	m->size = 7 + len;
	must(write(fd, m, m->size), "write(9p)");
}

static void serve_9p(int fd)
{
	struct message m;

	while (read(fd, &m, sizeof(m)) >= 7)
		serve_message(fd, &m);
	_exit(0);
}

static void try_9p(const char *dir)
{
	char options[96];
	struct stat status = { .st_mode = 0 };
	int fd[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	if (!must(fork(), "fork")) {
		close(fd[0]);
		serve_9p(fd[1]);
	}
	close(fd[1]);
	snprintf(options, sizeof(options),
		 "trans=fd,rfdno=%d,wfdno=%d,version=9p2000.L,msize=8192",
		 fd[0], fd[0]);
	must(mount("none", dir, "9p", 0, options), "mount(9p)");
	must(stat(dir, &status), "stat");
	must_be((status.st_mode & 07777) == 0751, "another directory");
	must(umount2(dir, MNT_DETACH), "umount");
}

/* -------------------------------------------------------------------------- */

static const struct call {
	const char *name;
	void (*try)(void);
} calls[] = {
	{ "userfaultfd", try_userfaultfd },
	{ "fanotify", try_fanotify },
	{ "io_uring", try_io_uring },
	{ "landlock", try_landlock },
	{ "kprobe", try_kprobe },
	{ "inet_diag", try_inet_diag },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "9p")) {
		try_9p(argv[2]);
		return 0;
	}
	for (const struct call *c = calls; argc == 2 && c->name; c++)
		if (!strcmp(c->name, argv[1])) {
			c->try();
			return 0;
		}
	fprintf(stderr, "usage: calls NAME | 9p DIR\n");
	return 2;
}
