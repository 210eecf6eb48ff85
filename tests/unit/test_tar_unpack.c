/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/tar_help.c */
/*
 * Unpacking: every kind of header, numbers and names at their bounds, and
 * streams that are cut off, damaged or something else. tests/tar.t has what
 * other programs pack, and what tries to get out.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "tar_help.h"

#define NOBODY 65534

/* -- streams -------------------------------------------------------------- */

/* Something of all that is read in a way of its own. */
static void put_sample(void)
{
	tar_begin();
	tar_put_header(TAR_DIR, "./d/", "", 0, NULL);
	tar_put_pax('x', "path=d/long|mtime=5.25|");
	tar_put_file("x", "0123456789");
	tar_put_header('L', "././@LongLink", "", 4, NULL);
	tar_put_data("d/l", 4);
	tar_put_header(TAR_SYMLINK, "x", "long", 0, NULL);
	tar_put_end();
}

static void test_in_any_pieces(void **state)
{
	const size_t pieces[] = { 0, 1, 511, 512, 513, 100 };

	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		put_sample();
		tar_stream.piece = pieces[i];
		assert_int_equal(tar_run(), 0);
		assert_int_equal(told.count, 0);
		assert_string_equal(tar_read_file("out/d/l"), "0123456789");
		assert_int_equal(tar_look("out/d/long").st_mtim.tv_sec, 5);
		assert_int_equal(tar_look("out/d/long").st_mtim.tv_nsec,
				 250000000);
		tar_empty(state);
	}
}

static void read_on(size_t at)
{
	tar_stream.piece = at ? 0 : 1001;
}

/* First a piece that does not end where a block does, then full buffers. */
static void test_odd_piece(void **state)
{
	static const char data[600];
	char name[16];

	(void)state;
	tar_begin();
	tar_stream.each = read_on;
	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		tar_put_header(TAR_FILE, name, "", sizeof(data), NULL);
		tar_put_data(data, sizeof(data));
	}
	tar_put_end();
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look("out/f399").st_size, sizeof(data));
}

static void test_cut_off_anywhere(void **state)
{
	size_t len;

	put_sample();
	/* The second zero block is only said to be there. */
	len = tar_stream.len - TAR_BLOCK;
	for (size_t cut = 0; cut < len; cut += cut % 512 < 490 ? 61 : 1) {
		put_sample();
		tar_stream.len = cut;
		assert_int_equal(tar_run(), -EBADMSG);
		assert_int_equal(told.count, 1);
		assert_true(strstr(told.why, cut >= 512 ? "ends too early"
					     : cut > 0	? "does not look like"
							: "is empty"));
		tar_empty(state);
	}
}

static void test_read_to_its_end(void **state)
{
	(void)state;
	put_sample();
	for (int i = 0; i < 1000; i++)
		tar_put_data("more", 4);
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_stream.at, tar_stream.len);
}

static void test_read_errors(void **state)
{
	put_sample();
	tar_stream.len = 1000;
	tar_stream.error = -ECONNRESET;
	assert_int_equal(tar_run(), -ECONNRESET);
	tar_empty(state);
	put_sample();
	tar_stream.error = -ECONNRESET;
	assert_int_equal(tar_run(), -ECONNRESET);
	assert_int_equal(told.count, 0);
}

static void test_damage(void **state)
{
	put_sample();
	tar_stream.bytes[TAR_BLOCK + 5] ^= 1;
	assert_int_equal(tar_run(), -EBADMSG);
	assert_string_equal(told.why, "the tar stream is damaged");
	assert_true(tar_is("out/d"));
	tar_empty(state);
	put_sample();
	tar_stream.bytes[5] ^= 1;
	assert_int_equal(tar_run(), -EBADMSG);
	assert_string_equal(told.why, "this does not look like a tar stream");
	assert_int_equal(told.count, 1);
}

static void test_compressed(void **state)
{
	static const struct {
		const char *bytes, *by;
	} kinds[] = {
		{ "\x1f\x8b\x08", "gzip" },
		{ "\xfd"
		  "7zXZ\0",
		  "xz" },
		{ "\x28\xb5\x2f\xfd", "zstd" },
		{ "BZh91AY", "bzip2" },
		{ "\x04\x22\x4d\x18", "lz4" },
		{ "LZIP\1", "lzip" },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (int longer = 0; longer < 2; longer++) {
			tar_begin();
			tar_put(kinds[i].bytes, strlen(kinds[i].bytes));
			for (int n = 0; longer && n < 1000; n++)
				tar_put("...", 3);
			assert_int_equal(tar_run(), -EBADMSG);
			assert_non_null(strstr(told.why, kinds[i].by));
			assert_non_null(strstr(told.why, "decompress"));
			tar_empty(state);
		}
}

/* -- headers -------------------------------------------------------------- */

static void edit_large(struct tar_header *header)
{
	memcpy(header->uid, "\x80\0\0\0\0\x2d\xc6\xc0", 8); /* 3,000,000 */
	memcpy(header->mtime,
	       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12);
	memcpy(header->size, "\x80\0\0\0\0\0\0\0\0\0\0\4", 12);
	memcpy(header->mode, "   755 ", 8);
	memcpy(header->gid, "12345670", 8); /* no NUL */
}

static void test_numbers(void **state)
{
	(void)state;
	tar_begin();
	tar_put_header(TAR_FILE, "x", "", 0, edit_large);
	tar_put_data("data", 4);
	tar_put_end();
	tar_options.keep_owner = !geteuid();
	assert_int_equal(tar_run(), 0);
	assert_string_equal(tar_read_file("out/x"), "data");
	assert_int_equal(tar_look("out/x").st_mode, S_IFREG | 0755);
	assert_int_equal(tar_look("out/x").st_mtim.tv_sec, -2);
	if (tar_options.keep_owner) {
		assert_int_equal(tar_look("out/x").st_uid, 3000000);
		assert_int_equal(tar_look("out/x").st_gid, 012345670);
	}
	tar_options.keep_owner = false;
}

static const char *bad_size;

static void edit_size(struct tar_header *header)
{
	memcpy(header->size, bad_size, 12);
}

static void test_bad_sizes(void **state)
{
	static const char *const sizes[] = {
		"0000000000x",
		"-0000000001",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x80\x01\0\0\0\0\0\0\0\0\0\0",
		"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
	};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		tar_begin();
		bad_size = sizes[i];
		tar_put_header(TAR_FILE, "x", "", 0, edit_size);
		tar_put_end();
		assert_int_equal(tar_run(), -EBADMSG);
		assert_string_equal(told.why, "the tar stream is damaged");
		assert_false(tar_is("out/x"));
		tar_empty(state);
	}
}

static void edit_v7(struct tar_header *header)
{
	memset(header->magic, 0, sizeof(*header) - 257);
}

static void edit_prefix(struct tar_header *header)
{
	memset(header->prefix, 'p', sizeof(header->prefix));
	memset(header->name, 'n', sizeof(header->name));
}

/* GNU tar has times there. */
static void edit_gnu(struct tar_header *header)
{
	memcpy(header->magic, "ustar  ", 8);
	memcpy(header->prefix, "00000000000", 12);
}

static void test_formats(void **state)
{
	char name[300] = "out/";

	(void)state;
	tar_begin();
	tar_put_header(0, "v7", "", 2, edit_v7);
	tar_put_data("v7", 2);
	/* The length that a link had there is none of data that follow. */
	tar_put_header(TAR_LINK, "link", "v7", 2, edit_v7);
	tar_put_header(0, "dir/", "", 0, edit_v7);
	tar_put_header('7', "contiguous", "", 0, NULL);
	tar_put_header(TAR_FILE, "", "", 1, edit_prefix);
	tar_put_data("p", 1);
	tar_put_header(TAR_FILE, "gnu", "", 1, edit_gnu);
	tar_put_data("g", 1);
	tar_put_header('D', "dumpdir/", "", 4, edit_gnu);
	tar_put_data("Yv7", 4);
	tar_put_header('V', "volume", "", 4, edit_gnu);
	tar_put_data("abcd", 4);
	tar_put_end();
	assert_int_equal(tar_run(), 0);
	assert_int_equal(told.count, 0);
	assert_string_equal(tar_read_file("out/v7"), "v7");
	assert_string_equal(tar_read_file("out/link"), "v7");
	assert_int_equal(tar_look("out/v7").st_nlink, 2);
	assert_true(S_ISDIR(tar_look("out/dir").st_mode));
	assert_true(S_ISREG(tar_look("out/contiguous").st_mode));
	assert_true(S_ISDIR(tar_look("out/dumpdir").st_mode));
	assert_string_equal(tar_read_file("out/gnu"), "g");
	assert_false(tar_is("out/volume"));
	memset(name + 4, 'p', 155);
	name[159] = '/';
	memset(name + 160, 'n', 100);
	assert_string_equal(tar_read_file(name), "p");
}

static void edit_device(struct tar_header *header)
{
	memcpy(header->major, "0007777", 8);
	memcpy(header->minor, "3777777", 8);
}

static void edit_no_device(struct tar_header *header)
{
	memcpy(header->major, "0010000", 8);
}

static void test_devices(void **state)
{
	(void)state;
	if (geteuid())
		skip(); /* users make none */
	tar_begin();
	tar_put_header(TAR_CHAR, "a", "", 0, edit_device);
	tar_put_header(TAR_CHAR, "b", "", 0, edit_no_device);
	tar_put_end();
	assert_int_equal(tar_run(), TAR_INCOMPLETE);
	assert_int_equal(told.error, -EINVAL);
	assert_string_equal(told.name, "b");
	assert_int_equal(tar_look("out/a").st_rdev, makedev(4095, 0xfffff));
}

static void test_long_names(void **state)
{
	char name[1200] = "out/", *to = name + 4;

	(void)state;
	for (int i = 0; i < 11; i++, to += 100) {
		memset(to, 'a' + i, 99);
		to[99] = '/';
	}
	to[-1] = 0;
	tar_begin();
	tar_put_header('L', "././@LongLink", "", strlen(name + 4) + 1, NULL);
	tar_put_data(name + 4, strlen(name + 4) + 1);
	tar_put_header('K', "././@LongLink", "", strlen(name + 4) + 1, NULL);
	tar_put_data(name + 4, strlen(name + 4) + 1);
	tar_put_header(TAR_SYMLINK, "no", "no", 0, NULL);
	tar_put_file("yes", "yes");
	tar_put_end();
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look(name).st_size, strlen(name + 4));
	assert_false(tar_is("out/no"));
	assert_string_equal(tar_read_file("out/yes"), "yes");
}

/* -- pax headers ---------------------------------------------------------- */

static void test_pax_global(void **state)
{
	(void)state;
	tar_begin();
	tar_put_pax('g', "mtime=77|path=bad|size=100000|comment=x|");
	tar_put_file("a", "aa");
	tar_put_pax('x', "mtime=-1.75|path=long/b|unknown=1|");
	tar_put_file("b", "bb");
	tar_put_pax('x', "mtime=|");
	tar_put_file("c", "cc");
	tar_put_end();
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look("out/a").st_mtim.tv_sec, 77);
	assert_int_equal(tar_look("out/long/b").st_mtim.tv_sec, -2);
	assert_int_equal(tar_look("out/long/b").st_mtim.tv_nsec, 250000000);
	assert_int_equal(tar_look("out/c").st_mtim.tv_sec, 0123);
	assert_string_equal(tar_read_file("out/c"), "cc");
}

/* Each is all of a pax header. */
static void test_pax_damaged(void **state)
{
	static const char *const bad[] = {
		"x",
		"9 path=a",
		"11 path=a\n",
		"8 path=a\n",
		"0 path=a\n",
		"path=a\n",
		"9path=aa\n",
		" 9 path=a\n",
		"99999999999999999999 p=a\n",
		"8 patha\n",
		"3 \n",
		"2\n",
		"10 size=x\n\n",
		"11 size=-1\n",
		"11 size=1x\n",
		"28 size=9223372036854775807\n",
		"29 size=99999999999999999999\n",
		"9 path=a\n-9 path=a\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		tar_begin();
		tar_put_header('x', "pax", "", strlen(bad[i]), NULL);
		tar_put_data(bad[i], strlen(bad[i]));
		tar_put_file("x", "data");
		tar_put_end();
		assert_int_equal(tar_run(), -EBADMSG);
		assert_string_equal(told.why, "the tar stream is damaged");
		tar_empty(state);
	}
}

/* What is too long costs that entry; the one behind it is none the worse. */
static void test_too_long(void **state)
{
	static const char zeros[TAR_PAX_BYTES + 1];
	const struct {
		char type;
		size_t size;
		const char *why;
	} headers[] = {
		{ 'x', TAR_PAX_BYTES + 1, "its header is too long" },
		{ 'L', TAR_NAME_BYTES, "its header is too long" },
		{ 'K', TAR_NAME_BYTES, "its header is too long" },
	};

	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		tar_begin();
		tar_put_header(headers[i].type, "long", "", headers[i].size,
			       NULL);
		tar_put_data(zeros, headers[i].size);
		tar_put_file("x", "bad");
		tar_put_file("y", "good");
		tar_put_end();
		assert_int_equal(tar_run(), TAR_INCOMPLETE);
		assert_int_equal(told.count, 1);
		assert_string_equal(told.why, headers[i].why);
		assert_false(tar_is("out/x"));
		assert_string_equal(tar_read_file("out/y"), "good");
		tar_empty(state);
	}
}

static void test_names_with_nul(void **state)
{
	static const char record[] = "11 path=a\0b\n";

	(void)state;
	tar_begin();
	tar_put_header('x', "pax", "", sizeof(record) - 1, NULL);
	tar_put_data(record, sizeof(record) - 1);
	tar_put_file("x", "bad");
	tar_put_end();
	/* 12 bytes, said to be 11: damage; then as it should be. */
	assert_int_equal(tar_run(), -EBADMSG);
	tar_empty(state);
	tar_stream.bytes[TAR_BLOCK + 1] = '2';
	tar_stream.at = 0;
	assert_int_equal(tar_run(), TAR_INCOMPLETE);
	assert_non_null(strstr(told.why, "NUL"));
	assert_false(tar_is("out/a"));
}

/* -- sparse files --------------------------------------------------------- */

static void put_sparse(const char *real_size, const char *map, const char *data)
{
	char records[200], bytes[2 * TAR_BLOCK] = "";

	snprintf(records, sizeof(records),
		 "GNU.sparse.major=1|GNU.sparse.minor=0|GNU.sparse.name=s|"
		 "GNU.sparse.realsize=%s|",
		 real_size);
	tar_put_pax('x', records);
	memcpy(bytes, map, strlen(map));
	memcpy(bytes + TAR_BLOCK, data, strlen(data));
	tar_put_header(TAR_FILE, "x", "", TAR_BLOCK + strlen(data), NULL);
	tar_put_data(bytes, TAR_BLOCK + strlen(data));
}

static void test_sparse(void **state)
{
	char bytes[10000];
	int fd;

	(void)state;
	tar_begin();
	put_sparse("10000", "3\n5\n2\n9000\n4\n10000\n0\n", "abcdef");
	tar_put_end();
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look("out/s").st_size, 10000);
	fd = open("out/s", O_RDONLY);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
	assert_memory_equal(bytes, "\0\0\0\0\0ab", 8);
	assert_memory_equal(bytes + 8999, "\0cdef", 6);
}

static void test_sparse_damaged(void **state)
{
	static const struct {
		const char *size, *map, *data;
	} bad[] = {
		{ "10", "", "abc" },
		{ "10", "x\n", "abc" },
		{ "10", "-1\n", "abc" },
		{ "10", "1\n0\n11\n", "abc" },
		{ "2", "1\n0\n3\n", "abc" },
		{ "10", "1\n11\n0\n", "abc" },
		{ "10", "1\n8\n9223372036854775807\n", "abc" },
		{ "10", "1\n99999999999999999999\n1\n", "abc" },
		{ "10", "2\n5\n2\n6\n1\n", "abc" },
		{ "10", "1\n0\n4\n", "abc" },
		{ "10", "65537\n0\n1\n", "abc" },
		{ "10", "9\n0\n1\n", "abc" },
		{ "-10", "1\n0\n3\n", "abc" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		tar_begin();
		put_sparse(bad[i].size, bad[i].map, bad[i].data);
		tar_put_file("y", "good");
		tar_put_end();
		assert_int_equal(tar_run(), TAR_INCOMPLETE);
		assert_int_equal(told.count, 1);
		assert_false(tar_is("out/s"));
		assert_string_equal(tar_read_file("out/y"), "good");
		tar_empty(state);
	}
}

static void edit_old_sparse(struct tar_header *header)
{
	edit_gnu(header);
	((char *)header)[482] = 1;
}

/* A map that is all of the data, and not filled up to a block. */
static void test_sparse_cut_off(void **state)
{
	(void)state;
	tar_begin();
	tar_put_pax('x', "GNU.sparse.major=1|GNU.sparse.minor=0|"
			 "GNU.sparse.realsize=9|");
	tar_put_file("x", "0\n");
	tar_put_file("y", "good");
	tar_put_end();
	assert_int_equal(tar_run(), TAR_INCOMPLETE);
	assert_int_equal(told.error, -EBADMSG);
	assert_string_equal(tar_read_file("out/y"), "good");
}

/* They are said to be old, and what follows is found: two blocks of a map. */
static void test_sparse_old(void **state)
{
	char map[2 * TAR_BLOCK] = "";

	tar_begin();
	tar_put_header('S', "s", "", 3, edit_old_sparse);
	map[504] = 1;
	tar_put(map, sizeof(map));
	tar_put_data("abc", 3);
	tar_put_file("y", "good");
	tar_put_end();
	assert_int_equal(tar_run(), TAR_INCOMPLETE);
	assert_non_null(strstr(told.why, "--sparse-version=1.0"));
	assert_string_equal(tar_read_file("out/y"), "good");
	tar_empty(state);
	tar_begin();
	tar_put_pax('x', "GNU.sparse.map=0,1|GNU.sparse.size=9|");
	tar_put_file("s", "abc");
	tar_put_file("y", "good");
	tar_put_end();
	assert_int_equal(tar_run(), TAR_INCOMPLETE);
	assert_non_null(strstr(told.why, "--sparse-version=1.0"));
	assert_false(tar_is("out/s"));
	assert_string_equal(tar_read_file("out/y"), "good");
}

/* -- directories ---------------------------------------------------------- */

static void edit_read_only(struct tar_header *header)
{
	memcpy(header->mode, "0000555", 8);
}

static void put_dirs(void)
{
	tar_begin();
	tar_put_header(TAR_DIR, "a/", "", 0, edit_read_only);
	tar_put_header(TAR_DIR, "a/b/", "", 0, edit_read_only);
	tar_put_file("a/b/c", "c");
	tar_put_file("a/d", "d");
	tar_put_end();
}

/*
 * Modes and times last, whatever comes into a directory before: for a user who
 * may not write to what nobody may write to.
 */
static void test_dirs(void **state)
{
	long result;

	(void)state;
	put_dirs();
	chmod(".", 0777);
	setfsuid(NOBODY);
	result = tar_run();
	setfsuid(geteuid());
	assert_int_equal(result, 0);
	assert_int_equal(tar_look("out/a").st_mode, S_IFDIR | 0555);
	assert_int_equal(tar_look("out/a").st_mtim.tv_sec, 0123);
	assert_int_equal(tar_look("out/a/b").st_mode, S_IFDIR | 0555);
	assert_int_equal(tar_look("out/a/b").st_mtim.tv_sec, 0123);
	assert_string_equal(tar_read_file("out/a/d"), "d");
}

/* As if very many directories had come. */
static void use_up(size_t at)
{
	if (at == TAR_BLOCK)
		tar_options.work->kept_used = TAR_KEPT_NAMES - 1;
}

static void test_many_dirs(void **state)
{
	(void)state;
	put_dirs();
	tar_stream.piece = TAR_BLOCK;
	tar_stream.each = use_up;
	tar_run();
	assert_int_equal(tar_look("out/a").st_mode, S_IFDIR | 0555);
	assert_int_equal(tar_look("out/a/b").st_mode, S_IFDIR | 0555);
	assert_int_equal(tar_look("out/a/b").st_mtim.tv_sec, 0123);
	if (!geteuid())
		assert_string_equal(tar_read_file("out/a/b/c"), "c");
}

static void test_the_directory_itself(void **state)
{
	(void)state;
	tar_begin();
	tar_put_header(TAR_DIR, "./", "", 0, edit_read_only);
	tar_put_file("./x", "x");
	tar_put_end();
	assert_int_equal(tar_run(), 0);
	assert_int_equal(tar_look("out").st_mode, S_IFDIR | 0555);
	assert_int_equal(tar_look("out").st_mtim.tv_sec, 0123);
}

/* Of a process: 0 if all is as it should be. */
static int unpack_to_root(void)
{
	struct stat top;
	int fd;

	if (chroot(".") || mkdir("/usr", 0755) || mkdir("/usr/lib", 0755) ||
	    symlink("usr/lib", "/lib") || symlink("/usr", "/abs"))
		return 1;
	fd = open("/", O_PATH);
	tar_begin();
	tar_put_header(TAR_DIR, "./", "", 0, edit_read_only);
	tar_put_header(TAR_DIR, "./lib/", "", 0, NULL);
	tar_put_file("./lib/x", "x");
	tar_put_file("./abs/lib/../y", "bad");
	tar_put_file("./abs/z", "z");
	tar_put_end();
	if (tar_unpack(fd, &tar_options, tar_supply, NULL) != TAR_INCOMPLETE)
		return 2;
	if (!S_ISLNK(tar_look("/lib").st_mode) || !tar_is("/usr/lib/x") ||
	    !tar_is("/usr/z"))
		return 3;
	return stat("/", &top) || (top.st_mode & 0777) == 0555 ? 4 : 0;
}

/* / keeps its mode, and its links that are directories; absolute ones too. */
static void test_root(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid())
		skip(); /* tests/linux has it in a guest */
	pid = fork();
	if (!pid)
		_exit(unpack_to_root());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define CASE(name) cmocka_unit_test_teardown(name, tar_empty)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_in_any_pieces),
		CASE(test_odd_piece),
		CASE(test_cut_off_anywhere),
		CASE(test_read_to_its_end),
		CASE(test_read_errors),
		CASE(test_damage),
		CASE(test_compressed),
		CASE(test_numbers),
		CASE(test_bad_sizes),
		CASE(test_formats),
		CASE(test_devices),
		CASE(test_long_names),
		CASE(test_pax_global),
		CASE(test_pax_damaged),
		CASE(test_too_long),
		CASE(test_names_with_nul),
		CASE(test_sparse),
		CASE(test_sparse_damaged),
		CASE(test_sparse_cut_off),
		CASE(test_sparse_old),
		CASE(test_dirs),
		CASE(test_many_dirs),
		CASE(test_the_directory_itself),
		CASE(test_root),
	};

	return cmocka_run_group_tests(tests, tar_setup, tar_teardown);
}
