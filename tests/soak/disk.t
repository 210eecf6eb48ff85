#!/bin/sh
# tests/linux/disk.t with 64 MiB for fio and 21 rounds of kill -9.
TEST_DISK_MB=${TEST_DISK_MB:-64}
TEST_DISK_KILLS=${TEST_DISK_KILLS:-21}
# shellcheck source=tests/linux/disk.t
. "${0%/*}/../linux/disk.t"
