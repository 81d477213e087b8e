import { randomBytes } from 'node:crypto'
import { sized } from '../../src/format/byte-reader.ts'
import { nameOf } from '../../src/format/tpm-name.ts'
import { ATTRIBUTE } from '../../src/format/tpm-public.ts'
import { AK_TEMPLATE } from '../../src/format/tpm-templates.ts'
import { forge, softwareAk } from './attacker.ts'
import { attributes, type Vector, vector, ZERO } from './vector.ts'

/** Nonce, instance and keys that are not what they should be. */

const IDENTITY: Vector[] = [
  vector('a foreign nonce in the document', 'nonce', 'VERIFY_NONCE', ({ evidence }) => ({
    evidence: { ...evidence, nonce: randomBytes(32) },
  })),
  vector('nothing bound, where bytes are demanded', 'bound bytes', 'VERIFY_BIND', () => ({
    options: { bind: randomBytes(32) },
  })),
  vector(
    'evidence of another instance than expected',
    'expected instance',
    'VERIFY_INSTANCE_ID',
    () => ({ options: { expectedInstanceId: 'i-another000000000000' } }),
  ),
]

const KEYS: Vector[] = [
  vector('an EK with userWithAuth set', 'EK public area', 'VERIFY_EK_PUBLIC', ({ evidence }) => {
    const altered = Buffer.from(evidence.ek.public)
    altered.writeUInt32BE(altered.readUInt32BE(4) | ATTRIBUTE.userWithAuth, 4)
    return { evidence: { ...evidence, ek: { ...evidence.ek, public: altered } } }
  }),
  vector(
    'an AK that is not restricted',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits & ~ATTRIBUTE.restricted),
  ),
  vector(
    'an AK that also decrypts',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits | ATTRIBUTE.decrypt),
  ),
  vector(
    'an AK made outside of a TPM (fixedTPM clear)',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits & ~ATTRIBUTE.fixedTPM),
  ),
  vector(
    'an AK with sensitiveDataOrigin clear',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits & ~ATTRIBUTE.sensitiveDataOrigin),
  ),
  vector(
    'an AK with a bit that no specification names',
    'AK public area',
    'VERIFY_AK_PUBLIC',
    attributes((bits) => bits | 0x8000_0000),
  ),
  vector('an AK with a policy', 'AK public area', 'VERIFY_AK_PUBLIC', ({ evidence }) => {
    const policy = Buffer.concat([
      AK_TEMPLATE.subarray(0, 8),
      sized(ZERO),
      AK_TEMPLATE.subarray(10),
    ])
    return { evidence: forge(evidence, { akPublic: (key) => softwareAk(key, policy) }) }
  }),
  vector('an activation of another AK', 'activation', 'VERIFY_ACTIVATION', ({ evidence }) => ({
    options: { activation: { ekName: nameOf(evidence.ek.public), akName: randomBytes(34) } },
  })),
  vector('an activation in another TPM', 'activation', 'VERIFY_ACTIVATION', ({ evidence }) => ({
    options: { activation: { ekName: randomBytes(34), akName: nameOf(evidence.ak.public) } },
  })),
  vector('neither activation nor AK certificate', 'provisional', 'VERIFY_PROVISIONAL', () => ({
    options: { allowProvisional: false },
  })),
  vector('no activation where one is demanded', 'activation', 'VERIFY_ACTIVATION', () => ({
    options: { demandActivation: true },
  })),
]

export const KEY_VECTORS: readonly Vector[] = [...IDENTITY, ...KEYS]
