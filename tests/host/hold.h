/* SPDX-License-Identifier: Apache-2.0 */
/* hold: keeps KVM from patching the kernel under QEMU's feet; see hold.c. */
#ifndef HOST_HOLD_H
#define HOST_HOLD_H

void hold_kvm(void);

#endif
