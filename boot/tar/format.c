/* SPDX-License-Identifier: Apache-2.0 */
/* What packing and unpacking share; see format.h. */
#include <string.h>

#include "boot/tar/format.h"

#define WARNINGS_MAX 32

size_t tar_length(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	return len;
}

unsigned tar_checksum(const struct tar_header *header)
{
	const uint8_t *bytes = (const uint8_t *)header;
	const size_t at = offsetof(struct tar_header, checksum);
	unsigned sum = ' ' * sizeof(header->checksum);

	for (size_t i = 0; i < sizeof(*header); i++)
		if (i < at || i >= at + sizeof(header->checksum))
			sum += bytes[i];
	return sum;
}

/* A user's setuid program must not become root's. */
uint32_t tar_mode(uint32_t mode, int64_t uid, int64_t gid, bool keep_owner)
{
	if (!keep_owner && uid)
		mode &= ~(uint32_t)S_ISUID;
	if (!keep_owner && gid)
		mode &= ~(uint32_t)S_ISGID;
	return mode & 07777;
}

/*
 * What the kernel's security modules keep of a file means something on its own
 * machine only.
 */
bool tar_keeps_xattr(const char *name)
{
	static const struct {
		const char *name;
		bool prefix; /* there are many that begin so */
	} kept[] = {
		{ "user.", true },
		{ "trusted.", true },
		{ "security.capability", false },
		{ "system.posix_acl_access", false },
		{ "system.posix_acl_default", false },
	};
	const size_t all = tar_length(name);

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
		const size_t len = tar_length(kept[i].name);

		if ((kept[i].prefix ? all > len : all == len) &&
		    !memcmp(name, kept[i].name, len))
			return true;
	}
	return false;
}

/* -- telling the user ----------------------------------------------------- */

static void report_tell(const struct tar_report *report, const char *why,
			const char *name, long error)
{
	report->options->warn(report->options->arg, why, name, error);
}

/* A stream of a million bad entries is no reason for a million lines. */
void tar_warn(struct tar_report *report, const char *why, const char *name,
	      long error)
{
	if (report->told + 2 < WARNINGS_MAX)
		report_tell(report, why, name, error);
	else if (report->told + 2 == WARNINGS_MAX)
		report_tell(report, "there is more of this kind", NULL, 0);
	else
		return;
	report->told++;
}

void tar_lack(struct tar_report *report, const char *why, const char *name,
	      long error)
{
	report->incomplete = true;
	tar_warn(report, why, name, error);
}

long tar_fail(struct tar_report *report, const char *why, const char *name,
	      long error)
{
	report_tell(report, why, name, error);
	return error;
}
