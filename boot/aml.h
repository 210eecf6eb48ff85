/*
 * A writer of AML, the byte code of ACPI tables, over a buffer of the caller
 * (ACPI 6.4, chapter 20). What does not fit sets `overflow` and is dropped, so
 * that one check at the end is enough.
 */
#ifndef BOOT_AML_H
#define BOOT_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *bytes;
	size_t len, max;
	bool overflow;
};

void aml_bytes(struct aml *aml, const void *bytes, size_t len);
void aml_byte(struct aml *aml, uint8_t byte);

/* Names of four characters; a leading '\\' is the root. */
void aml_path(struct aml *aml, const char *name);

/*
 * Begin a block that carries its length: returns what aml_end wants. Blocks
 * nest.
 */
size_t aml_scope(struct aml *aml, const char *name);
size_t aml_device(struct aml *aml, const char *name);
size_t aml_method(struct aml *aml, const char *name, uint8_t args);
size_t aml_if(struct aml *aml);
size_t aml_package(struct aml *aml, uint8_t elements);
size_t aml_field(struct aml *aml, const char *region, uint8_t flags);
void aml_end(struct aml *aml, size_t block);

/* Objects. aml_name is followed by the object that it names. */
void aml_name(struct aml *aml, const char *name);
void aml_integer(struct aml *aml, uint32_t value);
void aml_string(struct aml *aml, const char *string);
void aml_eisa_id(struct aml *aml, const char *id); /* such as "PNP0501" */

/* Resource templates: begin, descriptors, end. Blocks like those above. */
size_t aml_resources(struct aml *aml);
void aml_resource_port(struct aml *aml, uint16_t port, uint8_t count);
void aml_resource_memory(struct aml *aml, uint32_t base, uint32_t size);
void aml_resource_irq(struct aml *aml, uint32_t gsi); /* edge, active high */
void aml_resources_end(struct aml *aml, size_t block);

#endif
