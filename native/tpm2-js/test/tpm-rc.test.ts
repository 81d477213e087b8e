import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { decodeRc, type TpmSubject } from '../src/tpm-rc.ts'

const parameter = (number: number): TpmSubject => ({ kind: 'parameter', number })
const handle = (number: number): TpmSubject => ({ kind: 'handle', number })
const session = (number: number): TpmSubject => ({ kind: 'session', number })

/** Codes met on TPMs, and what each says. */
const CODES: readonly [number, string, TpmSubject | undefined, boolean][] = [
  [0x01e, 'TPM_RC_BAD_TAG', undefined, false],
  [0x100, 'TPM_RC_INITIALIZE', undefined, false],
  [0x101, 'TPM_RC_FAILURE', undefined, false],
  [0x128, 'TPM_RC_PCR_CHANGED', undefined, false],
  [0x12f, 'TPM_RC_AUTH_UNAVAILABLE', undefined, false],
  [0x142, 'TPM_RC_COMMAND_SIZE', undefined, false],
  [0x143, 'TPM_RC_COMMAND_CODE', undefined, false],
  [0x182, 'TPM_RC_ATTRIBUTES', handle(1), false],
  [0x184, 'TPM_RC_VALUE', handle(1), false],
  [0x185, 'TPM_RC_HIERARCHY', handle(1), false],
  [0x18b, 'TPM_RC_HANDLE', handle(1), false],
  [0x1c4, 'TPM_RC_VALUE', parameter(1), false],
  [0x1d5, 'TPM_RC_SIZE', parameter(1), false],
  [0x1df, 'TPM_RC_INTEGRITY', parameter(1), false],
  [0x2c4, 'TPM_RC_VALUE', parameter(2), false],
  [0xfc4, 'TPM_RC_VALUE', parameter(15), false],
  [0x902, 'TPM_RC_OBJECT_MEMORY', undefined, true],
  [0x903, 'TPM_RC_SESSION_MEMORY', undefined, true],
  [0x908, 'TPM_RC_YIELDED', undefined, true],
  [0x90a, 'TPM_RC_TESTING', undefined, true],
  [0x921, 'TPM_RC_LOCKOUT', undefined, true],
  [0x922, 'TPM_RC_RETRY', undefined, true],
  [0x98e, 'TPM_RC_AUTH_FAIL', session(1), false],
  [0x99d, 'TPM_RC_POLICY_FAIL', session(1), false],
  [0x9a2, 'TPM_RC_BAD_AUTH', session(1), false],
  [0xa8e, 'TPM_RC_AUTH_FAIL', session(2), false],
  [0x17f, '0x17F', undefined, false],
]

describe('decodeRc', () => {
  test.each(CODES)('%d is %s', (rc, name, subject, retry) => {
    expect(decodeRc(rc)).toEqual({ layer: 'tpm', name, subject, retry })
  })

  test.each([
    [0x0007_001b, 'esys', 'TSS2_RC_RSP_AUTH_FAILED'],
    [0x0007_0018, 'esys', 'TSS2_RC_BAD_TR'],
    [0x0008_000b, 'sys', 'TSS2_RC_BAD_VALUE'],
    [0x0009_0006, 'mu', 'TSS2_RC_INSUFFICIENT_BUFFER'],
    [0x000a_000a, 'tcti', 'TSS2_RC_IO_ERROR'],
    [0x000b_0143, 'resmgr', 'TPM_RC_COMMAND_CODE'],
    [0x000c_018b, 'resmgr-tpm', 'TPM_RC_HANDLE'],
    [0x0042_0001, 'unknown', 'TSS2_RC_GENERAL_FAILURE'],
    [0x000a_ffff, 'tcti', '0xAFFFF'],
  ])('%d is of layer %s: %s', (rc, layer, name) => {
    expect(decodeRc(rc)).toMatchObject({ layer, name })
  })

  // Without a code that nobody assigned, and without parameter 15: the tool takes three bits of four.
  test.each(CODES.filter(([rc]) => rc > 0x100 && rc !== 0x17f && rc !== 0xfc4))(
    'tpm2_rc_decode agrees on %d, %s',
    (rc, _name, subject) => {
      const text = execFileSync('tpm2_rc_decode', [`0x${rc.toString(16)}`]).toString()
      const about = /tpm:(handle|session|parameter)\((\d+)\)/.exec(text)
      const expected = subject === undefined ? undefined : [subject.kind, `${subject.number}`]
      expect(about?.slice(1)).toEqual(expected)
      expect(/warn/.test(text)).toBe((rc & 0x980) === 0x900)
    },
  )

  test('no 32-bit value is refused', () => {
    for (let rc = 0; rc < 0x1_0000_0000; rc += 65_537) expect(decodeRc(rc).name).not.toBe('')
  })
})
