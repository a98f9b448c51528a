/* SPDX-License-Identifier: Apache-2.0 */
/* Included by bcc; what it would hold comes with the bpf.h that bcc brings along. */
