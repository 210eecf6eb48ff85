/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: can this machine's /dev/kvm run Linux?  Decided by trying.
 *
 * Some hosts have a /dev/kvm whose backend emulates a guest's kernel code one
 * instruction at a time: small test guests run, Linux does not.  CPU flags
 * tell nothing about that.  So this program runs a guest of its own in 64-bit
 * kernel mode, which does what such a backend cannot:
 *
 *	'c'	cmpxchg16b and
 *	'x'	xsave and xrstor, where KVM's CPUID has them
 *	'l'	a loop of LOOPS rounds, which must end within LIMIT_MS
 *
 * The guest writes a letter to port 0x10 when it comes through a step.  One
 * word goes to stdout, with status 0:
 *
 *	linux		every step passed: Linux guests run here
 *	emulated	/dev/kvm is there and too weak for Linux
 *	none		no usable /dev/kvm
 *
 * With -v, why and how long it took goes to stderr.  The guest is our own and
 * trusted; it owns one page-aligned piece of memory; one thread, bounded by an
 * interval timer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MEM_SIZE  0x200000
#define CODE_ADDR 0x1000
#define STACK_TOP 0x8000
#define DATA_ADDR 0x10000
#define PML4_ADDR 0x2000
#define PDPT_ADDR 0x3000
#define PD_ADDR	  0x4000
#define MAX_CPUID 256

/*
 * Real hardware: 2 ms.  KVM in QEMU's emulated SVM: 20-60 ms.  A backend that
 * emulates: 5 s and more.
 */
#define LOOPS	 2000000
#define LIMIT_MS 1000

#define STR_(x) #x
#define STR(x)	STR_(x)

/* rdi: aligned scratch memory; rsi: HAS_CX16, HAS_XSAVE */
#define HAS_CX16  1
#define HAS_XSAVE 2
__asm__(".pushsection .rodata\n"
	"guest_start:\n"
	"	test $" STR(
		HAS_CX16) ", %sil\n"
			  "	jz 0f\n"
			  "	xor %eax, %eax\n"
			  "	xor %edx, %edx\n"
			  "	mov $1, %ebx\n"
			  "	xor %ecx, %ecx\n"
			  "	lock cmpxchg16b (%rdi)\n"
			  "	jnz 9f\n"
			  "	cmpq $1, (%rdi)\n"
			  "	jne 9f\n"
			  "	mov $'c', %al\n"
			  "	out %al, $0x10\n"
			  "0:	test $" STR(
				  HAS_XSAVE) ", %sil\n"
					     "	jz 1f\n"
					     "	mov %cr4, %rax\n"
					     "	or $0x40000, %rax\n" /* CR4.OSXSAVE
								      */
					     "	mov %rax, %cr4\n"
					     "	xor %ecx, %ecx\n"
					     "	xor %edx, %edx\n"
					     "	mov $3, %eax\n" /* x87 and SSE
								 */
					     "	xsetbv\n"
					     "	xsave 64(%rdi)\n"
					     "	xrstor 64(%rdi)\n"
					     "	mov $'x', %al\n"
					     "	out %al, $0x10\n"
					     "1:	mov $" STR(
						     LOOPS) ", %ecx\n"
							    "2:	mov %rcx, "
							    "8(%rdi)\n"
							    "	add 8(%rdi), "
							    "%rax\n"
							    "	push %rax\n"
							    "	pop %rdx\n"
							    "	dec %ecx\n"
							    "	jnz 2b\n"
							    "	mov $'l', %al\n"
							    "	out %al, "
							    "$0x10\n"
							    "9:	hlt\n"
							    "	jmp 9b\n"
							    "guest_end:\n"
							    ".popsection\n");
extern const unsigned char guest_start[], guest_end[];

struct probe {
	int kvm, vm, vcpu;
	unsigned char *mem;
	struct kvm_run *run;
	int run_size;
	unsigned has;
	const char *why; /* what failed, and its errno, 0 if it has none */
	int error;
};

static volatile sig_atomic_t expired;
static struct kvm_run *volatile alarm_run;

static void on_alarm(int sig)
{
	(void)sig;
	expired = 1;
	/* also when the signal comes just before KVM_RUN */
	if (alarm_run)
		alarm_run->immediate_exit = 1;
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static int fail(struct probe *p, const char *why)
{
	p->why = why;
	p->error = errno;
	return -EIO;
}

static int make_vm(struct probe *p)
{
	struct kvm_userspace_memory_region slot = {
		.memory_size = MEM_SIZE,
	};

	p->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (p->kvm < 0)
		return fail(p, "open /dev/kvm");
	if (ioctl(p->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return fail(p, "KVM_GET_API_VERSION");
	p->vm = ioctl(p->kvm, KVM_CREATE_VM, 0);
	if (p->vm < 0)
		return fail(p, "KVM_CREATE_VM");
	p->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->mem == MAP_FAILED)
		return fail(p, "mmap");
	slot.userspace_addr = (uintptr_t)p->mem;
	if (ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return fail(p, "KVM_SET_USER_MEMORY_REGION");
	p->vcpu = ioctl(p->vm, KVM_CREATE_VCPU, 0);
	if (p->vcpu < 0)
		return fail(p, "KVM_CREATE_VCPU");
	p->run_size = ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (p->run_size < (int)sizeof(*p->run))
		return fail(p, "KVM_GET_VCPU_MMAP_SIZE");
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      p->vcpu, 0);
	if (p->run == MAP_FAILED)
		return fail(p, "mmap of the vCPU");
	return 0;
}

static int set_cpuid(struct probe *p)
{
	static union {
		struct kvm_cpuid2 c;
		char room[sizeof(struct kvm_cpuid2) +
			  MAX_CPUID * sizeof(struct kvm_cpuid_entry2)];
	} u;

	u.c.nent = MAX_CPUID;
	if (ioctl(p->kvm, KVM_GET_SUPPORTED_CPUID, &u.c))
		return fail(p, "KVM_GET_SUPPORTED_CPUID");
	for (unsigned i = 0; i < u.c.nent; i++)
		if (u.c.entries[i].function == 1)
			p->has = (u.c.entries[i].ecx >> 13 & 1 ? HAS_CX16 : 0) |
				 (u.c.entries[i].ecx >> 26 & 1 ? HAS_XSAVE : 0);
	if (ioctl(p->vcpu, KVM_SET_CPUID2, &u.c))
		return fail(p, "KVM_SET_CPUID2");
	return 0;
}

/* Long mode, flat segments, the first 2 MiB mapped to itself. */
static int set_registers(struct probe *p)
{
	struct kvm_segment seg = {
		.limit = 0xffffffff,
		.selector = 0x10,
		.type = 3, /* data, read, write, accessed */
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_regs regs = {
		.rip = CODE_ADDR,
		.rsp = STACK_TOP,
		.rflags = 2,
		.rdi = DATA_ADDR,
		.rsi = p->has,
	};
	struct kvm_sregs sregs;

	if (ioctl(p->vcpu, KVM_GET_SREGS, &sregs))
		return fail(p, "KVM_GET_SREGS");
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = seg;
	seg.selector = 8;
	seg.type = 11; /* code, read, accessed */
	seg.db = 0;
	seg.l = 1;
	sregs.cs = seg;
	sregs.cr0 = 0x80000033; /* PG NE ET MP PE */
	sregs.cr3 = PML4_ADDR;
	sregs.cr4 = 0x620;  /* PAE OSFXSR OSXMMEXCPT */
	sregs.efer = 0x500; /* LMA LME */
	if (ioctl(p->vcpu, KVM_SET_SREGS, &sregs))
		return fail(p, "KVM_SET_SREGS");
	if (ioctl(p->vcpu, KVM_SET_REGS, &regs))
		return fail(p, "KVM_SET_REGS");
	return 0;
}

static void load_guest(struct probe *p)
{
	*(uint64_t *)(p->mem + PML4_ADDR) = PDPT_ADDR | 3;
	*(uint64_t *)(p->mem + PDPT_ADDR) = PD_ADDR | 3;
	*(uint64_t *)(p->mem + PD_ADDR) = 0x83; /* 2 MiB page */
	memcpy(p->mem + CODE_ADDR, guest_start, guest_end - guest_start);
}

static void start_timer(struct probe *p)
{
	/* again and again: KVM may restart after one signal */
	struct itimerval t = {
		.it_interval = { .tv_usec = 50000 },
		.it_value = { .tv_sec = LIMIT_MS / 1000,
			      .tv_usec = LIMIT_MS % 1000 * 1000 },
	};
	struct sigaction act = { .sa_handler = on_alarm };

	alarm_run = p->run;
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
}

/* Runs the guest to its last letter: 0, or what it got stuck at in p->why. */
static int run_guest(struct probe *p)
{
	char done[8] = "";
	size_t n = 0;

	errno = 0;
	start_timer(p);
	while (!expired) {
		if (ioctl(p->vcpu, KVM_RUN, 0)) {
			if (errno == EINTR)
				continue;
			return fail(p, "KVM_RUN");
		}
		if (p->run->exit_reason != KVM_EXIT_IO)
			break;
		if (n == sizeof(done) - 1)
			break;
		done[n] = ((char *)p->run)[p->run->io.data_offset];
		if (done[n++] == 'l')
			return 0;
	}
	if (expired)
		return fail(p, "the guest is far too slow");
	if (p->has & HAS_CX16 && !strchr(done, 'c'))
		return fail(p, "cmpxchg16b");
	if (p->has & HAS_XSAVE && !strchr(done, 'x'))
		return fail(p, "xsave, xrstor");
	return fail(p, "the loop");
}

int main(int argc, char **argv)
{
	struct probe p = { .kvm = -1, .vm = -1, .vcpu = -1 };
	int verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	const char *verdict = "none";
	int64_t start = now_us(), ready = start;
	int r;

	r = make_vm(&p);
	if (!r) {
		verdict = "emulated";
		r = set_cpuid(&p);
	}
	if (!r) {
		load_guest(&p);
		r = set_registers(&p);
	}
	if (!r) {
		ready = now_us();
		r = run_guest(&p);
	}
	if (!r)
		verdict = "linux";
	if (verbose && r)
		fprintf(stderr, "probe: %s: %s\n", p.why,
			p.error ? strerror(p.error) : "the guest gave up");
	if (verbose)
		fprintf(stderr, "probe: set-up %lld us, guest %lld us%s\n",
			(long long)(ready - start),
			(long long)(now_us() - ready),
			p.has & HAS_XSAVE ? "" : ", no xsave");
	puts(verdict);
	return fflush(stdout) ? 1 : 0;
}
