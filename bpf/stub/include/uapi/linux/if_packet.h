/* SPDX-License-Identifier: Apache-2.0 */
/* Included by bcc, nothing of it is used. */
