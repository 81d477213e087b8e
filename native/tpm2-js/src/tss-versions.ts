/**
 * What differs between the versions of tpm2-tss, in one place. Everything else that is called of it is in
 * each version from OLDEST on (test/tss-versions.test.ts holds every function against its first version).
 */

/** The oldest version that works. RHEL 8 has it, with corrections of its own; Ubuntu 20.04 as it was released. */
export const OLDEST = '2.3.2'

/**
 * File names of the libraries, newest first; versioned, because the plain `.so` links belong to development
 * packages and are absent on servers. Version 3.0 raised that of `sys` because Tss2_Sys_ReadClock got another
 * parameter; it is not called here.
 */
export const SONAMES = {
  esys: ['libtss2-esys.so.0'],
  sys: ['libtss2-sys.so.1', 'libtss2-sys.so.0'],
  mu: ['libtss2-mu.so.0'],
  tctildr: ['libtss2-tctildr.so.0'],
  rc: ['libtss2-rc.so.0'],
} as const

export type TssLibrary = keyof typeof SONAMES

/** Functions that are younger than OLDEST, and what is done where they are missing. */
export const LATER = {
  Esys_TR_GetTpmHandle: {
    since: '2.4.0',
    instead: 'the handle is the first field of what Esys_TR_Serialize writes',
  },
} as const

/**
 * TPM_RH_NULL (Part 2, 7.4) as Esys_LoadExternal takes it. Before 3.0 it wants the TPM's own number; since
 * then it takes that and ESAPI's.
 */
export const LOAD_EXTERNAL_NULL = 0x4000_0007

/**
 * ESAPI computes a salt for a session with `tpmKey` and keeps it in its context. An unsalted session that is
 * started later in the same context gets a key from that salt, which the TPM does not know of: its HMACs are
 * wrong (TPM_RC_BAD_AUTH). 2.3.2 as released keeps the salt for good, later versions and RHEL 8's package
 * until the next session has started; so each keeps it when the TPM refuses the salted one. Therefore no
 * context with a salt outlives its sequence, and within one the key of an unsalted session is looked at.
 */
export const SALT_KEPT =
  'libtss2-esys took the salt of an earlier session for this one, as tpm2-tss before 2.3.3 does: start it in a sequence of its own'
