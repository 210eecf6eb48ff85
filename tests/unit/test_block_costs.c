/* uses: virtio/block.c virtio/block_create.c virtio/block_open.c */
/* uses: virtio/block_request.c virtio/block_step.c virtio/overlay.c */
/* uses: virtio/uring.c virtio/worker.c virtio/engine_now.c cpu/thread.c */
/* uses: virtio/limiter.c virtio/queue.c cpu/loop.c mem/ram.c */
/* ldflags: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap */
/*
 * What a request costs: no memory is allocated for it, and no system call is
 * made but for the I/O itself and for notifications. The second is shown by a
 * child process that may not make any other (seccomp), and is killed if it
 * does.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/block_help.h"
#include "tests/unit/count_allocations.h"

#define SIZE (16 * MIB)
#define MANY 20000u
#define ALL  (FLUSH_FEATURE | FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX)

static enum block_engine engines[] = { BLOCK_ENGINE_URING,
				       BLOCK_ENGINE_THREADS };

static void start(enum block_engine engine, bool ephemeral, uint64_t iops)
{
	struct block_options options = {
		.file.fd = file_open("/tmp", SIZE),
		.engine = engine,
		.queues = 2,
		.ephemeral = ephemeral,
		.ops_per_s = iops,
	};

	disk_make(&options, ALL);
}

/* `depth` requests at a time of all kinds: how many were not done. */
static unsigned work(unsigned count, unsigned depth)
{
	static const uint32_t types[] = { BLOCK_OUT, BLOCK_IN, BLOCK_OUT,
					  BLOCK_IN, BLOCK_FLUSH };
	unsigned bad = 0;

	for (unsigned i = 0; i < count; i += depth) {
		const unsigned wanted = t.back_count + depth;

		for (unsigned j = 0; j < depth; j++) {
			uint32_t type = types[(i + j) % ARRAY_LEN(types)];

			put_pieces(j % 2, type, (i + j) % 1000 * 8,
				   DATA_AT + j * 8192ULL,
				   type == BLOCK_FLUSH ? 0 : 8192, 1 + j % 3,
				   type == BLOCK_IN);
		}
		kick_queue(0);
		kick_queue(1);
		collect();
		while (t.back_count < wanted)
			pump(PATIENCE_MS);
		for (unsigned j = 0; j < depth; j++)
			bad += status_of(t.slots - 1 - j) != BLOCK_OK;
	}
	return bad;
}

static void test_no_allocation(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(engines); i++)
		for (unsigned way = 0; way < 3; way++) {
			start(engines[i], way == 1, way == 2 ? 1000000 : 0);
			assert_true(allocations > 0); /* it does count */
			allocations = 0;
			assert_int_equal(work(MANY / 10, 1), 0);
			assert_int_equal(work(MANY / 10, 32), 0);
			assert_int_equal(allocations, 0);
			disk_destroy();
			expect_no_log();
		}
}

/* -- system calls --------------------------------------------------------- */

#define ALLOWED_MAX 16

/* Kills the process at the first call that is not in the list. */
static bool allow_only(const unsigned *calls, unsigned count)
{
	struct sock_filter code[ALLOWED_MAX + 3];
	struct sock_fprog program = { .filter = code };
	unsigned n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < count; i++)
		code[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, calls[i],
			(uint8_t)(count - i), 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						 SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						 SECCOMP_RET_ALLOW);
	program.len = (unsigned short)n;
	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			SECCOMP_FILTER_FLAG_TSYNC, &program);
}

/* Ends the child, whatever the sanitizers would like to do yet. */
static void child(enum block_engine engine, const unsigned *calls,
		  unsigned count)
{
	start(engine, false, 0);
	if (work(100, 10) || !allow_only(calls, count))
		_exit(2);
	syscall(SYS_exit_group,
		work(MANY / 10, 1) || work(MANY / 10, 50) ? 3 : 0);
}

static int status_of_child(enum block_engine engine, const unsigned *calls,
			   unsigned count)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid)
		child(engine, calls, count);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_no_system_call(void **state)
{
	/* epoll_wait is the test's; so is exit_group. */
	static const unsigned uring[] = { SYS_io_uring_enter, SYS_preadv2,
					  SYS_pwritev2, SYS_epoll_wait,
					  SYS_exit_group };
	static const unsigned threads[] = { SYS_preadv2,    SYS_pwritev2,
					    SYS_preadv,	    SYS_pwritev,
					    SYS_fdatasync,  SYS_futex,
					    SYS_write, /* of the eventfd */
					    SYS_epoll_wait, SYS_exit_group };
	int status;

	(void)state;
	assert_int_equal(
		status_of_child(BLOCK_ENGINE_URING, uring, ARRAY_LEN(uring)),
		0);
	assert_int_equal(status_of_child(BLOCK_ENGINE_THREADS, threads,
					 ARRAY_LEN(threads)),
			 0);
	/* The filter does kill: the first of the list is missed at once. */
	status = status_of_child(BLOCK_ENGINE_URING, uring + 1,
				 ARRAY_LEN(uring) - 1);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_allocation),
		cmocka_unit_test(test_no_system_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
