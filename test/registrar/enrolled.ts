import type { EnrolledInstance } from '../../src/registrar-repository/enrolled-instance.ts'
import type { PendingEnrolment } from '../../src/registrar-repository/repository.ts'

/** Rows for tests of what keeps and judges them. */

export const NOW_MS = Date.UTC(2026, 10, 29)

export function enrolledRow(fields: Partial<EnrolledInstance> = {}): EnrolledInstance {
  return {
    iid: '01'.repeat(16),
    revision: 1,
    dialect: 'aliyun',
    instanceId: 'i-one',
    ekName: '000b01',
    akName: '000b02',
    ekSpkiSha256: '03'.repeat(32),
    sk: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' },
    anchor: 'ek-certificate',
    proven: ['ek-genuine'],
    state: 'active',
    record: { clockMs: 1000, resetCount: 7, restartCount: 0 },
    generation: 1,
    abandoned: [],
    source: '192.0.2.1',
    enrolledAtMs: NOW_MS,
    seenAtMs: NOW_MS,
    expiresAtMs: NOW_MS + 1000,
    ...fields,
  }
}

/** Another instance with another TPM. @param number below 256 */
export function otherRow(number: number, fields: Partial<EnrolledInstance> = {}): EnrolledInstance {
  const byte = number.toString(16).padStart(2, '0')
  return enrolledRow({
    iid: byte.repeat(16),
    instanceId: `i-${number}`,
    ekName: `000b01${byte}`,
    akName: `000b02${byte}`,
    ...fields,
  })
}

export function pendingRow(fields: Partial<PendingEnrolment> = {}): PendingEnrolment {
  return {
    id: '0a'.repeat(16),
    nonce: '0b'.repeat(64),
    source: '192.0.2.1',
    kept: Buffer.from('kept'),
    generation: 0,
    nonceIssuedAtMs: NOW_MS,
    expiresAtMs: NOW_MS + 1000,
    reply: undefined,
    ...fields,
  }
}
