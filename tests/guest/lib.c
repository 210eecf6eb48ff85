/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every bare-metal guest needs: a console, its command line, page tables
 * and ways to end. One CPU uses the console; the others report through memory.
 */
#include "tests/guest/guest.h"

#define SERIAL_LSR 5
#define LSR_THRE   0x20

static const uint8_t *params; /* boot_params, as RSI had it */

uint16_t get16(const uint8_t *from)
{
	return (uint16_t)(from[0] | from[1] << 8);
}

uint32_t get32(const uint8_t *from)
{
	return get16(from) | (uint32_t)get16(from + 2) << 16;
}

uint64_t get64(const uint8_t *from)
{
	return get32(from) | (uint64_t)get32(from + 4) << 32;
}

/* The compiler may call these for its own ends: no loop to recognise here. */
void *memset(void *to, int value, size_t len)
{
	void *at = to;

	__asm__ volatile("rep stosb"
			 : "+D"(at), "+c"(len)
			 : "a"(value)
			 : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t len)
{
	void *at = to;

	__asm__ volatile("rep movsb"
			 : "+D"(at), "+S"(from), "+c"(len)
			 :
			 : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (; len; len--, x++, y++)
		if (*x != *y)
			return *x < *y ? -1 : 1;
	return 0;
}

size_t strlen(const char *text)
{
	const char *end = text;

	while (*end)
		end++;
	return (size_t)(end - text);
}

void put(char c)
{
	while (!(in8(SERIAL + SERIAL_LSR) & LSR_THRE))
		pause_cpu();
	out8(SERIAL, (uint8_t)c);
}

static void put_text(const char *text)
{
	while (*text)
		put(*text++);
}

static void put_number(uint64_t value, unsigned base, unsigned width)
{
	char digit[24];
	unsigned n = 0;

	do {
		digit[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (width > n) {
		put('0');
		width--;
	}
	while (n)
		put(digit[--n]);
}

static void put_signed(int64_t value)
{
	if (value < 0)
		put('-');
	put_number(value < 0 ? -(uint64_t)value : (uint64_t)value, 10, 0);
}

static void vprint(const char *format, va_list args)
{
	for (; *format; format++) {
		unsigned width = 0;
		bool wide = false;

		if (*format != '%') {
			put(*format);
			continue;
		}
		for (format++; *format >= '0' && *format <= '9'; format++)
			width = width * 10 + (unsigned)(*format - '0');
		for (; *format == 'l'; format++)
			wide = true;
		switch (*format) {
		case 'c':
			put((char)va_arg(args, int));
			break;
		case 's':
			put_text(va_arg(args, const char *));
			break;
		case 'd':
			put_signed(wide ? va_arg(args, int64_t)
					: va_arg(args, int));
			break;
		case 'u':
		case 'x':
			put_number(wide ? va_arg(args, uint64_t)
					: va_arg(args, unsigned),
				   *format == 'x' ? 16 : 10, width);
			break;
		case 'p':
			put_number((uintptr_t)va_arg(args, void *), 16, 0);
			break;
		default:
			put(*format);
		}
	}
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprint(format, args);
	va_end(args);
}

static const uint8_t *boot_params(void)
{
	if (!params)
		params = at_physical(entry_state.rsi);
	return params;
}

const char *cmdline(void)
{
	return (const char *)at_physical(get32(boot_params() + BP_CMDLINE));
}

bool cmdline_get(const char *name, char *to, size_t size)
{
	size_t len = strlen(name), n = 0;
	const char *at = cmdline();

	for (; *at; at++) {
		if (at != cmdline() && at[-1] != ' ')
			continue;
		if (strlen(at) > len && !memcmp(at, name, len) &&
		    at[len] == '=')
			break;
	}
	if (!*at)
		return false;
	for (at += len + 1; *at && *at != ' '; at++) {
		if (n + 1 >= size)
			return false;
		to[n++] = *at;
	}
	to[n] = 0;
	return true;
}

unsigned cmdline_number(const char *name, unsigned otherwise)
{
	unsigned value = 0;
	char text[16];

	if (!cmdline_get(name, text, sizeof(text)))
		return otherwise;
	for (const char *at = text; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (unsigned)(*at - '0');
	return value;
}

#define PAGE_PRESENT 0x003 /* and writable */
#define PAGE_LARGE   0x083
#define TABLE	     512

static uint64_t root_table[TABLE] __attribute__((aligned(4096)));
static uint64_t gib_table[TABLE] __attribute__((aligned(4096)));
static uint64_t mib_table[MAP_MAX >> 30][TABLE] __attribute__((aligned(4096)));

void map_memory(uint64_t top)
{
	unsigned gibs = (unsigned)((top + (1u << 30) - 1) >> 30);

	if (top > MAP_MAX)
		fail("cannot map more than %lu bytes", (unsigned long)MAP_MAX);
	for (unsigned gib = 0; gib < gibs; gib++) {
		for (unsigned i = 0; i < TABLE; i++)
			mib_table[gib][i] = ((uint64_t)gib << 30) +
					    ((uint64_t)i << 21) + PAGE_LARGE;
		gib_table[gib] = (uintptr_t)mib_table[gib] + PAGE_PRESENT;
	}
	root_table[0] = (uintptr_t)gib_table + PAGE_PRESENT;
	__asm__ volatile("mov %0, %%cr3" : : "r"(root_table) : "memory");
}

bool sums_to_zero(const uint8_t *from, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *from++);
	return !sum;
}

void fail(const char *format, ...)
{
	va_list args;

	print("FAIL: ");
	va_start(args, format);
	vprint(format, args);
	va_end(args);
	print("\n");
	guest_exit(STATUS_FAIL);
}

void guest_exit(uint8_t status)
{
	out8(PORT_EXIT, status);
	halt_forever();
}

void guest_poweroff(void)
{
	struct acpi_machine machine;

	acpi_load(&machine);
	acpi_sleep_s5(&machine);
	halt_forever();
}

void triple_fault(void)
{
	static const uint8_t no_idt[10];

	__asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
	halt_forever();
}

void halt_forever(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}
