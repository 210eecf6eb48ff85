/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vsock_check.h"

static bool is_alone(const struct conn_list *entry)
{
	return entry->next == entry && entry->prev == entry;
}

static bool has_ports(const struct conn *conn)
{
	return conn->state == VSOCK_REQUESTED ||
	       conn->state == VSOCK_CONNECTING || conn->state == VSOCK_OPEN ||
	       conn->state == VSOCK_KILLED;
}

static const char *check_conn(const struct conn *conn)
{
	const bool open = conn->socket.source.fd >= 0;

	if (conn->state == VSOCK_FREE) {
		if (open)
			return "a free connection has a socket";
		if (!is_alone(&conn->ready) || !is_alone(&conn->timed))
			return "a free connection is in a list";
		return NULL;
	}
	if (is_alone(&conn->timed) != (conn->wait == VSOCK_WAIT_NONE))
		return "a connection waits in no list, or not, but in one";
	if (conn->pending && is_alone(&conn->ready))
		return "a packet is pending, and its connection not ready";
	if (conn->buffered > conn->buffer_size ||
	    (conn->buffered && !conn->buffer_touched))
		return "the buffer holds more than it can";
	switch (conn->state) {
	case VSOCK_COMMAND:
	case VSOCK_REQUESTED:
	case VSOCK_ORPHANED:
		return open ? NULL : "a connection has lost its socket";
	case VSOCK_CONNECTING:
	case VSOCK_KILLED:
		return open ? "there is a socket that should not be" : NULL;
	case VSOCK_OPEN:
		return open || conn->wait == VSOCK_WAIT_CLOSE
			       ? NULL
			       : "an open connection has no socket";
	default:
		return "there is no such state";
	}
}

static const char *check_free_list(const struct conns *conns)
{
	unsigned count = 0;

	for (const struct conn *at = conns->free; at; at = at->next) {
		if (at->state != VSOCK_FREE)
			return "a connection in use is in the free list";
		if (++count > conns->touched)
			return "the free list has no end";
	}
	return count + conns->count == conns->touched
		       ? NULL
		       : "a connection is neither free nor in use, or both";
}

static const char *check_table(const struct conns *conns)
{
	unsigned entered = 0, found = 0;

	for (unsigned i = 0; i < conns->touched; i++)
		entered += has_ports(&conns->conn[i]);
	for (size_t i = 0; i <= conns->table_mask; i++) {
		const struct conn *at = conns->table[i];

		for (; at; at = at->next) {
			if (!has_ports(at))
				return "the table has one without ports";
			if (++found > entered)
				return "the table has one twice";
		}
	}
	return found == entered ? NULL : "the table lacks one";
}

static const char *check_lists(const struct conns *conns)
{
	unsigned waiting = 0, listed = 0;

	for (unsigned i = 0; i < conns->touched; i++)
		waiting += !is_alone(&conns->conn[i].timed);
	for (unsigned i = 0; i < VSOCK_WAITS; i++) {
		const struct conn_list *head = &conns->timed[i];
		uint64_t before = 0;

		for (const struct conn_list *at = head->next; at != head;
		     at = at->next) {
			const struct conn *conn =
				(const void *)((const char *)at -
					       offsetof(struct conn, timed));

			if (++listed > waiting)
				return "a time limit's list has no end";
			if (conn->wait != i || conn->deadline_ns < before)
				return "a time limit's list is out of order";
			before = conn->deadline_ns;
		}
	}
	if (listed != waiting)
		return "a connection waits in a list that is lost";
	return waiting && !conns->timer_ns ? "nothing ends a time limit" : NULL;
}

const char *vsock_check(const struct conns *conns)
{
	const char *wrong = NULL;

	for (unsigned i = 0; i < conns->touched && !wrong; i++)
		wrong = check_conn(&conns->conn[i]);
	if (!wrong)
		wrong = check_free_list(conns);
	if (!wrong)
		wrong = check_table(conns);
	if (!wrong)
		wrong = check_lists(conns);
	return wrong;
}
