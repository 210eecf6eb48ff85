#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/linux/disk.t with 64 MiB for fio and 24 motes killed.
TEST_DISK_MB=${TEST_DISK_MB:-64}
TEST_DISK_KILLS=${TEST_DISK_KILLS:-24}
# shellcheck source=tests/linux/disk.t
. "${0%/*}/../linux/disk.t"
