/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --events counts: the names of all counters, and what they mean, each
 * declared once. Who counts has an array with an element for each of a list;
 * report.c writes it, and the manual explains it, by these names. They are what
 * other programs read: none is ever renamed, or takes another meaning.
 *
 * A counter begins at 0 in each process, also of a guest that is restored, and
 * never goes back, but for those that say how much there is now.
 */
#ifndef CPU_LOOP_COUNTERS_H
#define CPU_LOOP_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

/* COUNTER(index, name, meaning): the order in which they are written. */
#define COUNTERS_OF_DISK(COUNTER)                                              \
	COUNTER(DISK_READS, "reads", "reads that were done")                   \
	COUNTER(DISK_READ_BYTES, "read_bytes", "bytes that the guest got")     \
	COUNTER(DISK_WRITES, "writes", "writes that were done")                \
	COUNTER(DISK_WRITTEN_BYTES, "written_bytes", "bytes of them")          \
	COUNTER(DISK_FLUSHES, "flushes", "flushes that were done")             \
	COUNTER(DISK_DISCARDS, "discards",                                     \
		"requests to discard, or to write zeros, that were done")      \
	COUNTER(DISK_DISCARDED_BYTES, "discarded_bytes",                       \
		"bytes of all their ranges")                                   \
	COUNTER(DISK_ERRORS, "errors",                                         \
		"requests of any kind that the guest was told have failed, "   \
		"or are not possible; they count as nothing else")             \
	COUNTER(DISK_THROTTLED, "throttled",                                   \
		"requests that found the limit (bw=, iops=) used up when it "  \
		"was their turn; each counts once, and those behind it in "    \
		"its queue do not")

#define COUNTERS_OF_NET(COUNTER)                                               \
	COUNTER(NET_RX_PACKETS, "rx_packets",                                  \
		"packets that the guest got; a large one that the host has "   \
		"not cut into segments is one")                                \
	COUNTER(NET_RX_BYTES, "rx_bytes",                                      \
		"bytes of them, Ethernet headers included")                    \
	COUNTER(NET_RX_DROPPED, "rx_dropped",                                  \
		"packets that did not fit into the guest's buffers, or made "  \
		"no sense")                                                    \
	COUNTER(NET_RX_THROTTLED, "rx_throttled",                              \
		"packets that found the limit (bw=, pps=) used up when it "    \
		"was their turn; each counts once, and those behind it do "    \
		"not")                                                         \
	COUNTER(NET_TX_PACKETS, "tx_packets",                                  \
		"packets of the guest's that the host took")                   \
	COUNTER(NET_TX_BYTES, "tx_bytes",                                      \
		"bytes of them, Ethernet headers included")                    \
	COUNTER(NET_TX_DROPPED, "tx_dropped",                                  \
		"packets of the guest's that the host refused, that make no "  \
		"sense, or that came when the link was down")                  \
	COUNTER(NET_TX_THROTTLED, "tx_throttled", "as rx_throttled")

#define COUNTERS_OF_VSOCK(COUNTER)                                             \
	COUNTER(VSOCK_COUNT_OPEN, "open",                                      \
		"streams that both ends have now; goes up and down")           \
	COUNTER(VSOCK_COUNT_STREAMS, "streams",                                \
		"streams that there were, those included; a command has one")  \
	COUNTER(VSOCK_COUNT_REFUSED, "refused",                                \
		"connections, begun by either side, that ended before they "   \
		"were streams: nobody listened, there was no room, or the "    \
		"other side did not answer")                                   \
	COUNTER(VSOCK_COUNT_RX_BYTES, "rx_bytes",                              \
		"bytes of streams that went to the guest")                     \
	COUNTER(VSOCK_COUNT_TX_BYTES, "tx_bytes",                              \
		"bytes of the guest's that went to the host's programs")

#define COUNTERS_OF_SERIAL(COUNTER)                                            \
	COUNTER(SERIAL_IN_BYTES, "in_bytes", "bytes that the guest has read")  \
	COUNTER(SERIAL_OUT_BYTES, "out_bytes", "bytes that it wrote")          \
	COUNTER(SERIAL_DROPPED_BYTES, "dropped_bytes",                         \
		"those of out_bytes that had nobody to go to, or did not fit")

#define COUNTERS_OF_EXITS(COUNTER)                                             \
	COUNTER(EXITS_TOTAL, "total", "all, of all vCPUs")                     \
	COUNTER(EXITS_PIO, "pio", "for an I/O port")                           \
	COUNTER(EXITS_MMIO, "mmio", "for a register in memory")                \
	COUNTER(EXITS_SIGNAL, "signal",                                        \
		"because a signal came; not of the total")

#define COUNTERS_OF_PROCESS(COUNTER)                                           \
	COUNTER(PROCESS_USER_US, "user_us",                                    \
		"microseconds of processor time of mote and its guest")        \
	COUNTER(PROCESS_SYSTEM_US, "system_us",                                \
		"microseconds of it that the host's kernel took for them")     \
	COUNTER(PROCESS_PEAK_RSS, "peak_rss_bytes",                            \
		"the most memory that was resident at a time, what is shared " \
		"with other processes included; the host's kernel does not "   \
		"count each page at once, so some hundred KiB may be missing") \
	COUNTER(PROCESS_CGROUP_PEAK, "cgroup_peak_bytes",                      \
		"the most memory that mote's cgroup had at a time, all of "    \
		"its processes together; only where there is a cgroup, and "   \
		"the host's kernel tells (version 1, or Linux 5.19)")

/* COUNTED(index, name, is numbered, its list, meaning): objects of an event. */
#define COUNTED_ALL(COUNTED)                                                   \
	COUNTED(COUNTED_DISK, "disk", true, COUNTERS_OF_DISK,                  \
		"disk0, disk1, ...: each --disk, in their order")              \
	COUNTED(COUNTED_NET, "net", true, COUNTERS_OF_NET,                     \
		"net0, ...: each --net; rx is to the guest, tx from it")       \
	COUNTED(COUNTED_VSOCK, "vsock", false, COUNTERS_OF_VSOCK,              \
		"vsock: of --vsock, or a command; rx is to the guest, tx "     \
		"from it")                                                     \
	COUNTED(COUNTED_SERIAL, "serial", false, COUNTERS_OF_SERIAL,           \
		"serial: the serial port")                                     \
	COUNTED(COUNTED_EXITS, "exits", false, COUNTERS_OF_EXITS,              \
		"exits: how often a vCPU left the guest for mote, and why")    \
	COUNTED(COUNTED_PROCESS, "process", false, COUNTERS_OF_PROCESS,        \
		"process: mote itself, as the host's kernel has counted")

#define COUNTER_INDEX(index, name, meaning)	      index,
#define COUNTED_INDEX(index, name, numbered, of, why) index,
enum disk_counter { COUNTERS_OF_DISK(COUNTER_INDEX) DISK_COUNTERS };
enum net_counter { COUNTERS_OF_NET(COUNTER_INDEX) NET_COUNTERS };
enum vsock_counter { COUNTERS_OF_VSOCK(COUNTER_INDEX) VSOCK_COUNTERS };
enum serial_counter { COUNTERS_OF_SERIAL(COUNTER_INDEX) SERIAL_COUNTERS };
enum exits_counter { COUNTERS_OF_EXITS(COUNTER_INDEX) EXITS_COUNTERS };
enum process_counter { COUNTERS_OF_PROCESS(COUNTER_INDEX) PROCESS_COUNTERS };
enum counted { COUNTED_ALL(COUNTED_INDEX) COUNTED_KINDS };

#define COUNTERS_MAX 9 /* of one object */

/* In place of a value: nobody knows it, and it is left out. */
#define COUNTER_UNKNOWN UINT64_MAX

#endif
