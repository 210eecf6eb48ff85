/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The barest monitor: what KVM itself costs. It makes the KVM calls that any
 * monitor must, in the order that was measured to be the best (memory, irqchip,
 * vCPU, no PIT), maps an ELF64 guest copy-on-write, enters it in long mode by
 * the 64-bit Linux boot protocol, and serves two ports: a byte out to 0x3F8
 * goes to stdout at once, one to 0x506 is the exit status. Nothing else: no
 * checks of the file, no signals, no second thread, no tables for the guest.
 *
 *	limit GUEST.elf [MIB [COMMAND LINE]]
 *
 * mote's time from exec to the guest's first instruction is given as a ratio
 * to this program's, so it must stay as fast as it can be made. It trusts its
 * input: it is for measuring only.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GDT	    0x500
#define BOOT_PARAMS 0x7000
#define PAGE_TABLES 0x9000
#define CMDLINE	    0x20000
#define TSS	    0xFFFBD000

#define SERIAL	    0x3F8
#define SERIAL_LSR  0x3FD
#define LSR_EMPTY   0x60
#define PORT_EXIT   0x506
#define E820_RAM    1
#define CPUID_MAX   256
#define STATUS_FAIL 125

static void die(const char *what)
{
	fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
	exit(STATUS_FAIL);
}

static int must(int result, const char *what)
{
	if (result < 0)
		die(what);
	return result;
}

static void put(void *to, uint64_t value, size_t len)
{
	memcpy(to, &value, len);
}

/* Segments that are aligned in the file are mapped, as mote maps them. */
static void load_segment(uint8_t *ram, int fd, const Elf64_Phdr *ph)
{
	size_t whole = ph->p_filesz & ~0xFFFULL, rest = ph->p_filesz & 0xFFF;
	uint8_t *to = ram + ph->p_paddr;

	if (whole &&
	    mmap(to, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd,
		 (off_t)ph->p_offset) == MAP_FAILED)
		die("mmap");
	if (rest && pread(fd, to + whole, rest,
			  (off_t)(ph->p_offset + whole)) != (ssize_t)rest)
		die("pread");
}

/* Returns the entry point. */
static uint64_t load_elf(uint8_t *ram, const char *path)
{
	int fd = must(open(path, O_RDONLY | O_CLOEXEC), path);
	union {
		Elf64_Ehdr header;
		uint8_t bytes[4096];
	} head;
	uint64_t entry;

	must((int)pread(fd, head.bytes, sizeof(head), 0), path);
	entry = head.header.e_entry;
	for (unsigned i = 0; i < head.header.e_phnum; i++) {
		Elf64_Phdr ph;

		memcpy(&ph, head.bytes + head.header.e_phoff + i * sizeof(ph),
		       sizeof(ph));
		if (ph.p_type == PT_LOAD)
			load_segment(ram, fd, &ph);
	}
	close(fd);
	return entry;
}

/* The GDT, the page tables of the first GiB, and boot_params. */
static void write_tables(uint8_t *ram, uint64_t size, const char *cmdline)
{
	uint8_t *params = ram + BOOT_PARAMS;

	put(ram + GDT + 0x10, 0x00AF9B000000FFFF, 8);
	put(ram + GDT + 0x18, 0x00CF93000000FFFF, 8);
	put(ram + PAGE_TABLES, PAGE_TABLES + 0x1003, 8);
	put(ram + PAGE_TABLES + 0x1000, PAGE_TABLES + 0x2003, 8);
	for (unsigned i = 0; i < 512; i++)
		put(ram + PAGE_TABLES + 0x2000 + i * 8, (i << 21) + 0x83, 8);
	memcpy(ram + CMDLINE, cmdline, strlen(cmdline) + 1);
	put(params + 0x1E8, 1, 1);
	put(params + 0x1FE, 0xAA55, 2);
	memcpy(params + 0x202, "HdrS", 4);
	put(params + 0x206, 0x020F, 2);
	put(params + 0x210, 0xFF, 1);
	put(params + 0x228, CMDLINE, 4);
	put(params + 0x2D8, size, 8);
	put(params + 0x2E0, E820_RAM, 4);
}

static void set_segment(struct kvm_segment *segment, unsigned selector,
			unsigned type)
{
	*segment = (struct kvm_segment){
		.limit = 0xFFFFFFFF,
		.selector = (uint16_t)selector,
		.type = (uint8_t)type,
		.present = 1,
		.db = selector != 0x10,
		.s = 1,
		.l = selector == 0x10,
		.g = 1,
	};
}

static void set_registers(int vcpu, uint64_t entry)
{
	struct kvm_regs regs = {
		.rip = entry,
		.rsi = BOOT_PARAMS,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	set_segment(&sregs.cs, 0x10, 11);
	set_segment(&sregs.ds, 0x18, 3);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.gdt = (struct kvm_dtable){ .base = GDT, .limit = 0x1F };
	sregs.cr0 = 0x80000031; /* PG, NE, ET, PE */
	sregs.cr3 = PAGE_TABLES;
	sregs.cr4 = 0x20;   /* PAE */
	sregs.efer = 0x500; /* LMA, LME */
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void set_cpuid(int kvm, int vcpu)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[CPUID_MAX];
	} cpuid = { .head.nent = CPUID_MAX };

	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "supported CPUID");
	must(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
}

static void serve_port(const struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)(uintptr_t)run + run->io.data_offset;

	if (run->io.direction == KVM_EXIT_IO_IN)
		memset(data, run->io.port == SERIAL_LSR ? LSR_EMPTY : 0xFF,
		       (size_t)run->io.size * run->io.count);
	else if (run->io.port == SERIAL)
		must((int)write(STDOUT_FILENO, data, run->io.count), "write");
	else if (run->io.port == PORT_EXIT)
		_exit(*data);
}

static int run_guest(int vcpu, struct kvm_run *run)
{
	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) && errno != EINTR)
			die("KVM_RUN");
		if (run->exit_reason == KVM_EXIT_IO)
			serve_port(run);
		else if (run->exit_reason != KVM_EXIT_MMIO &&
			 run->exit_reason != KVM_EXIT_INTR)
			break;
	}
	fprintf(stderr, "limit: exit reason %u\n", run->exit_reason);
	return STATUS_FAIL;
}

int main(int argc, char **argv)
{
	uint64_t size = (argc > 2 ? strtoull(argv[2], NULL, 10) : 128) << 20;
	struct kvm_userspace_memory_region slot = { .memory_size = size };
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram;
	uint64_t entry;

	if (argc < 2 || argc > 4) {
		fprintf(stderr, "limit GUEST.elf [MIB [COMMAND LINE]]\n");
		return STATUS_FAIL;
	}
	kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	ram = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram == MAP_FAILED)
		die("mmap");
	entry = load_elf(ram, argv[1]);
	write_tables(ram, size, argc > 3 ? argv[3] : "");

	vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(vm, KVM_SET_TSS_ADDR, TSS), "KVM_SET_TSS_ADDR");
	slot.userspace_addr = (uintptr_t)ram;
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "memory slot");
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL,
		   (size_t)must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
				"KVM_GET_VCPU_MMAP_SIZE"),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("mmap of the vCPU");
	set_cpuid(kvm, vcpu);
	set_registers(vcpu, entry);
	return run_guest(vcpu, run);
}
