/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/tar_help.c */
/* uses: boot/tar/head.c boot/tar/links.c boot/tar/out.c boot/tar/pack.c */
/* uses: boot/tar/sparse.c */
/*
 * Packing: what a header can just say and what it cannot, files that change
 * meanwhile or cannot be read, and what is bounded. tests/tar.t shows what
 * other programs make of the streams.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/fsuid.h>

#include "boot/tar/pack.h"
#include "boot/tar/unpack.h"
#include "tar_help.h"

#define NOBODY 65534

static void write_file(const char *name, size_t len)
{
	char *bytes = calloc(1, len + 1);
	int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	ssize_t written;

	memset(bytes, 'x', len);
	written = write(fd, bytes, len);
	close(fd);
	free(bytes);
	assert_int_equal(written, len);
}

static long pack(const char *path)
{
	tar_stream.len = 0;
	memset(&told, 0, sizeof(told));
	return tar_pack(AT_FDCWD, path, &tar_options, tar_collect, NULL);
}

/* -- headers -------------------------------------------------------------- */

static struct tar_header last; /* the entry's own */

/* Its value in the pax header before that one; NULL: it has none. */
static const char *record(const char *key)
{
	static char copy[3 * TAR_NAME_BYTES];
	const struct tar_header *pax = (const void *)tar_stream.bytes;
	struct pax_record found;
	char *at = copy, *end;
	int result;

	if (pax->type != 'x')
		return NULL;
	end = copy + strtoul(pax->size, NULL, 8);
	memcpy(copy, tar_stream.bytes + TAR_BLOCK, (size_t)(end - copy));
	while ((result = records_next(&at, end, &found)) > 0)
		if (!strcmp(found.key, key))
			return found.value;
	assert_int_equal(result, 0);
	return NULL;
}

static void head(struct tar_entry entry)
{
	struct packer p = { .report = { .options = &tar_options },
			    .work = tar_options.work,
			    .write = tar_collect };

	if (!entry.name)
		entry.name = strcpy(p.work->name, "name");
	p.name_len = strlen(entry.name);
	tar_begin();
	head_write(&p, &entry);
	out_flush(&p);
	assert_int_equal(tar_stream.len % TAR_BLOCK, 0);
	memcpy(&last, tar_stream.bytes + tar_stream.len - TAR_BLOCK, TAR_BLOCK);
}

static void test_numbers(void **state)
{
	(void)state;
	tar_options.keep_owner = true;
	head((struct tar_entry){ .size = 077777777777,
				 .uid = 07777777,
				 .mtime = 077777777777,
				 .mode = 07755 });
	assert_int_equal(tar_stream.len, TAR_BLOCK);
	assert_string_equal(last.size, "77777777777");
	assert_string_equal(last.uid, "7777777");
	assert_string_equal(last.mtime, "77777777777");
	assert_string_equal(last.mode, "0007755");
	assert_string_equal(last.uname, "");
	head((struct tar_entry){ .size = 0100000000000,
				 .uid = 010000000,
				 .gid = 4294967294,
				 .mtime = 0100000000000 });
	assert_string_equal(record("size"), "8589934592");
	assert_string_equal(record("uid"), "2097152");
	assert_string_equal(record("gid"), "4294967294");
	assert_string_equal(record("mtime"), "8589934592");
	assert_string_equal(last.size, "00000000000");
	tar_options.keep_owner = false;
	head((struct tar_entry){ .mtime = 1 });
	assert_string_equal(last.uname, "root");
}

static void test_times(void **state)
{
	static const struct {
		int64_t seconds;
		uint32_t ns;
		const char *text;
	} times[] = {
		{ 0, 1, "0.000000001" },
		{ 1, 999999999, "1.999999999" },
		{ -1, 0, "-1" },
		{ -1, 750000000, "-0.250000000" },
		{ -2, 500000000, "-1.500000000" },
		{ INT64_MIN, 0, "-9223372036854775808" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		head((struct tar_entry){ .mtime = times[i].seconds,
					 .ns = times[i].ns });
		assert_string_equal(record("mtime"), times[i].text);
	}
}

static void test_names(void **state)
{
	char name[300];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[100] = 0;
	head((struct tar_entry){ .name = name });
	assert_null(record("path"));
	assert_memory_equal(last.name, name, 100);
	name[100] = 'n';
	name[101] = 0;
	head((struct tar_entry){ .name = name });
	assert_string_equal(record("path"), name);
	name[101] = 'n';
	name[155] = '/';
	name[256] = 0;
	head((struct tar_entry){ .name = name });
	assert_null(record("path"));
	assert_memory_equal(last.prefix, name, 155);
	assert_memory_equal(last.name, name + 156, 100);
	name[256] = 'n';
	name[257] = 0;
	head((struct tar_entry){ .name = name });
	assert_string_equal(record("path"), name);
	name[101] = 0; /* a directory's slash is no place to cut */
	name[100] = '/';
	head((struct tar_entry){ .name = name });
	assert_string_equal(record("path"), name);
}

/* Each length of a record, over those at which it gets a digit more. */
static void test_links(void **state)
{
	char link[1200];

	(void)state;
	for (size_t len = 1; len < sizeof(link); len++) {
		memset(link, 'l', len);
		link[len] = 0;
		head((struct tar_entry){ .type = TAR_SYMLINK, .link = link });
		if (len <= 100)
			assert_null(record("linkpath"));
		else
			assert_string_equal(record("linkpath"), link);
	}
}

static void test_characters(void **state)
{
	static char good[][8] = { "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf",
				  "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf" };
	static char bad[][8] = { "\x80",	 "\xc1\xbf",
				 "\xc3",	 "\xe0\x9f\xbf",
				 "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
				 "\xf5",	 "\xf4\x90\x80\x80",
				 "\xe2\x82",	 "\xff" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		head((struct tar_entry){ .name = good[i] });
		assert_string_equal(record("path"), good[i]);
		assert_null(record("hdrcharset"));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		head((struct tar_entry){ .name = bad[i] });
		assert_string_equal(record("path"), bad[i]);
		assert_string_equal(record("hdrcharset"), "BINARY");
		head((struct tar_entry){ .link = bad[i] });
		assert_string_equal(record("linkpath"), bad[i]);
		assert_string_equal(record("hdrcharset"), "BINARY");
	}
}

/* -- files ---------------------------------------------------------------- */

static void shrink(size_t at)
{
	if (!at)
		assert_int_equal(truncate("d/x", 1000), 0);
}

static void grow(size_t at)
{
	if (!at)
		write_file("d/x", 3 << 20);
}

static void put_pair(void)
{
	mkdir("d", 0755);
	write_file("d/x", 1 << 20);
	write_file("d/y", 5);
}

/* As long as it was when its header was written, and what follows is found. */
static void test_changed_meanwhile(void **state)
{
	put_pair();
	tar_begin();
	tar_stream.each = shrink;
	assert_int_equal(pack("d"), TAR_INCOMPLETE);
	assert_string_equal(told.why, "it became shorter while it was read");
	assert_string_equal(told.name, "./x");
	tar_stream.each = NULL;
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look("out/x").st_size, 1 << 20);
	assert_string_equal(tar_read_file("out/y"), "xxxxx");
	tar_empty(state);
	put_pair();
	tar_begin();
	tar_stream.each = grow;
	assert_int_equal(pack("d"), 0);
	tar_stream.each = NULL;
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look("out/x").st_size, 1 << 20);
	assert_string_equal(tar_read_file("out/y"), "xxxxx");
}

static void test_cannot_be_read(void **state)
{
	(void)state;
	put_pair();
	mkdir("d/sub", 0700);
	write_file("d/sub/z", 3);
	chmod("d/x", 0);
	chmod("d/sub", 0);
	setfsuid(NOBODY);
	tar_begin();
	assert_int_equal(pack("d"), TAR_INCOMPLETE);
	setfsuid(geteuid());
	assert_int_equal(told.count, 2);
	assert_string_equal(told.why, "cannot open");
	assert_int_equal(told.error, -EACCES);
	assert_int_equal(tar_run(), 0);
	assert_false(tar_is("out/x"));
	assert_string_equal(tar_read_file("out/y"), "xxxxx");
	assert_int_equal(tar_look("out/sub").st_mode, S_IFDIR);
}

/* Its files have no sizes, or too large ones. */
static void test_kernels_own(void **state)
{
	(void)state;
	tar_begin();
	assert_int_equal(pack("/proc/sys/kernel/random"), 0);
	assert_int_equal(told.count, 1);
	assert_string_equal(told.why,
			    "the kernel's own: what is in it is left out");
	assert_true(tar_stream.len <= 5 * TAR_BLOCK);
}

static void test_no_path(void **state)
{
	(void)state;
	tar_begin();
	assert_int_equal(pack("nowhere"), -ENOENT);
	write_file("x", 1);
	assert_int_equal(pack("x/"), -ENOTDIR);
	chmod("x", 0);
	setfsuid(NOBODY);
	assert_int_equal(pack("x"), -EACCES);
	setfsuid(geteuid());
	assert_int_equal(tar_stream.len, 0);
	assert_int_equal(told.count, 0);
}

static unsigned calls;

static void count_calls(size_t at)
{
	(void)at;
	calls++;
}

static void test_write_fails(void **state)
{
	(void)state;
	put_pair();
	tar_begin();
	tar_stream.each = count_calls;
	tar_stream.error = -EPIPE;
	assert_int_equal(pack("d"), -EPIPE);
	assert_int_equal(calls, 1);
	assert_int_equal(told.count, 0);
}

/* Much at once, for what carries it costs something each time. */
static void test_large_pieces(void **state)
{
	(void)state;
	put_pair();
	tar_begin();
	tar_stream.each = count_calls;
	calls = 0;
	assert_int_equal(pack("d"), 0);
	assert_in_range(calls, 4, 6);
}

static void test_a_file(void **state)
{
	(void)state;
	put_pair();
	symlink("d/y", "link");
	tar_begin();
	assert_int_equal(pack(".//link"), 0);
	assert_int_equal(tar_run(), 0);
	assert_true(S_ISREG(tar_look("out/link").st_mode));
	assert_string_equal(tar_read_file("out/link"), "xxxxx");
}

/* -- bounds --------------------------------------------------------------- */

/* The second stream is not full of what the first one had. */
static void test_work_again(void **state)
{
	size_t len;
	char *first;

	(void)state;
	put_pair();
	assert_int_equal(link("d/y", "d/z"), 0);
	tar_begin();
	assert_int_equal(pack("d"), 0);
	len = tar_stream.len;
	first = malloc(len);
	memcpy(first, tar_stream.bytes, len);
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look("out/z").st_ino, tar_look("out/y").st_ino);
	assert_int_equal(pack("d"), 0);
	assert_int_equal(tar_stream.len, len);
	assert_memory_equal(tar_stream.bytes, first, len);
	free(first);
}

static void test_many_links(void **state)
{
	struct tar_work *work = tar_options.work;
	struct stat status = { .st_dev = 1 };
	char name[16];
	unsigned count = 0;

	(void)state;
	links_begin(work);
	for (;; count++) {
		status.st_ino = count;
		assert_null(links_find(work, &status));
		snprintf(name, sizeof(name), "%u", count);
		if (!links_keep(work, &status, name))
			break;
	}
	assert_int_equal(count, TAR_KEPT_MAX / 4 * 3);
	for (unsigned i = 0; i < count; i += 7) {
		status.st_ino = i;
		snprintf(name, sizeof(name), "%u", i);
		assert_string_equal(links_find(work, &status), name);
	}
	/* So many that some of them have its slot. */
	status.st_ino = 5;
	for (status.st_dev = 2; status.st_dev < 1000000; status.st_dev++)
		assert_null(links_find(work, &status));
	links_begin(work);
	status.st_dev = 1;
	assert_null(links_find(work, &status));
	work->kept_used = TAR_KEPT_NAMES - 3;
	assert_false(links_keep(work, &status, "abc"));
	assert_true(links_keep(work, &status, "ab"));
}

/* What is left of the table when it is full: one more copy, and a word. */
static void fill(size_t at)
{
	(void)at;
	tar_options.work->kept_count = TAR_KEPT_MAX / 4 * 3;
}

static void test_one_link_more(void **state)
{
	(void)state;
	mkdir("d", 0755);
	mkdir("d/sub", 0755);
	write_file("d/a", 1 << 20);
	assert_int_equal(link("d/a", "d/b"), 0);
	write_file("d/sub/c", 1 << 20);
	assert_int_equal(link("d/sub/c", "d/sub/d"), 0);
	tar_begin();
	tar_stream.each = fill;
	assert_int_equal(pack("d"), 0);
	assert_string_equal(told.why,
			    "too many hard links: it may be packed twice");
	tar_stream.each = NULL;
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look("out/a").st_size, 1 << 20);
	assert_int_equal(tar_look("out/b").st_size, 1 << 20);
	assert_int_equal(tar_look("out/sub/c").st_size, 1 << 20);
	assert_int_equal(tar_look("out/sub/d").st_size, 1 << 20);
}

/* A path of more than TAR_NAME_BYTES has too many levels before. */
static void test_long_path(void **state)
{
	char name[256], *at = tar_options.work->name;
	int fd = open(".", O_PATH), next;

	(void)state;
	memset(name, 'n', 255);
	name[255] = 0;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(mkdirat(fd, name, 0755), 0);
		next = openat(fd, name, O_PATH);
		close(fd);
		fd = next;
	}
	close(fd);
	tar_begin();
	assert_int_equal(pack("."), 0);
	assert_int_equal(strlen(at), 2);
	/* out/ holds as much again; it is removed by itself, level by level */
	assert_int_equal(tar_run(), 0);
	assert_int_equal(told.count, 0);
	assert_int_equal(system("rm -rf nnn* out"), 0);
}

#define CASE(name) cmocka_unit_test_teardown(name, tar_empty)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_numbers),	   CASE(test_times),
		CASE(test_names),	   CASE(test_links),
		CASE(test_characters),	   CASE(test_changed_meanwhile),
		CASE(test_cannot_be_read), CASE(test_no_path),
		CASE(test_kernels_own),	   CASE(test_write_fails),
		CASE(test_large_pieces),   CASE(test_a_file),
		CASE(test_work_again),	   CASE(test_many_links),
		CASE(test_one_link_more),  CASE(test_long_path),
	};

	return cmocka_run_group_tests(tests, tar_setup, tar_teardown);
}
