import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTpm, type Tpm, TpmError } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { createAk, flushTools, tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { decodeToolsCredential, encodeToolsCredential } from '../../src/format/activation.ts'
import { EK_KINDS } from '../../src/format/algorithms.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { nameOf } from '../../src/format/tpm-name.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { AK_TEMPLATE, EK_TEMPLATES, type EkTemplate } from '../../src/format/tpm-templates.ts'
import {
  type Answer,
  type Challenge,
  decodeAnswer,
  decodeChallenge,
  decodeKeptSecret,
  encodeAnswer,
  encodeChallenge,
  encodeKeptSecret,
  finishChallenge,
  type KeptSecret,
  makeChallenge,
  verifyEvidence,
} from '../../src/verify/index.ts'
import { makeCredential } from '../../src/verify/make-credential.ts'
import { forge, softwareAk } from '../harness/attacker.ts'
import { rsaSpki } from '../harness/certificate.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { bytesOf, genuineCase, NOW, refusalOf, type VerifyCase } from '../harness/verify-case.ts'

/** Credential activation. */

let swtpm: Swtpm
let tpm: Tpm
let it: VerifyCase
let directory: string
beforeAll(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti })
  it = await genuineCase(tpm)
  directory = await mkdtemp('/tmp/activation-')
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
  await rm(directory, { recursive: true })
})

const ekTemplateOf = (kind: EkTemplate['kind']) => {
  const template = EK_TEMPLATES.find((each) => each.kind === kind)
  if (template === undefined) throw new Error(kind)
  return template.publicArea
}

type Blobs = Pick<Challenge, 'credentialBlob' | 'encryptedSecret'>

/** What the instance does: TPM2_ActivateCredential with the AK and the EK. */
function activate(blobs: Blobs, kind: EkTemplate['kind'] = 'P-256', akTemplate = AK_TEMPLATE) {
  return tpm.sequence(async (commands) => {
    const ek = await commands.createPrimary('endorsement', ekTemplateOf(kind))
    const ak = await commands.createPrimary('endorsement', akTemplate)
    // Of the high range userWithAuth is set, and the (empty) password does.
    const type = kind === 'P-384' || kind === 'RSA-3072' ? 'hmac' : 'policy'
    const session = await commands.startAuthSession({ type })
    if (type === 'policy') await commands.policySecret(session, 'endorsement')
    const { credentialBlob, encryptedSecret } = blobs
    return Buffer.from(
      await commands.activateCredential(ak, ek, credentialBlob, encryptedSecret, session),
    )
  })
}

function publicsOf(kind: EkTemplate['kind']) {
  return tpm.sequence(async (commands) => {
    const ek = await commands.createPrimary('endorsement', ekTemplateOf(kind))
    const ak = await commands.createPrimary('endorsement', AK_TEMPLATE)
    return { ek: Buffer.from(ek.publicArea), ak: Buffer.from(ak.publicArea) }
  })
}

const answerOf = ({ id, secret }: KeptSecret): Answer => ({
  format: 'metabind answer',
  version: 1,
  id,
  secret,
})

describe('the ceremony', () => {
  test('challenge, activation and finish prove that the AK is in the TPM', async () => {
    const demanded = { ...it.options, demandActivation: true, allowProvisional: false }
    const made = makeChallenge(bytesOf(it.evidence), demanded)
    const challenge = decodeChallenge(Buffer.from(encodeChallenge(made.challenge)))
    const secret = await activate(challenge)
    const answer = { format: 'metabind answer', version: 1, id: challenge.id, secret } as const
    const kept = decodeKeptSecret(Buffer.from(encodeKeptSecret(made.kept)))
    const activation = finishChallenge(decodeAnswer(Buffer.from(encodeAnswer(answer))), kept, NOW)
    const verified = verifyEvidence(bytesOf(it.evidence), { ...demanded, activation })
    expect(verified).toMatchObject({ verified: true, provisional: false })
    expect(verified.proven).toContain('ak-in-tpm')
  })

  test('two challenges have nothing in common (CVE-2026-6420)', () => {
    const [one, two] = [0, 1].map(() => makeChallenge(bytesOf(it.evidence), it.options))
    expect(one?.challenge.id).not.toEqual(two?.challenge.id)
    expect(one?.kept.secret).not.toEqual(two?.kept.secret)
    expect(one?.challenge.encryptedSecret).not.toEqual(two?.challenge.encryptedSecret)
  })

  test('no challenge for a key that a check refuses', () => {
    const unrestricted = Buffer.from(AK_TEMPLATE)
    unrestricted.writeUInt32BE(unrestricted.readUInt32BE(4) & ~0x10000, 4)
    const evidence = forge(it.evidence, { akPublic: (key) => softwareAk(key, unrestricted) })
    const refusal = refusalOf(() => makeChallenge(bytesOf(evidence), it.options))
    expect(refusal).toEqual({ code: 'VERIFY_AK_PUBLIC', check: 'AK public area' })
  })

  test('a software AK cannot be activated', async () => {
    const { challenge } = makeChallenge(bytesOf(forge(it.evidence)), it.options)
    await expect(activate(challenge)).rejects.toMatchObject({ rc: 0x1df })
  })

  test.each([
    ['wrong', (secret: Buffer) => randomBytes(secret.length)],
    ['shortened', (secret: Buffer) => secret.subarray(0, 16)],
    ['empty', () => Buffer.alloc(0)],
  ])('18: a %s secret', (_, alter) => {
    const { kept } = makeChallenge(bytesOf(it.evidence), it.options)
    const answer = { format: 'metabind answer', version: 1, id: kept.id } as const
    const given = { ...answer, secret: alter(kept.secret) }
    expect(refusalOf(() => finishChallenge(given, kept, NOW))).toEqual({
      code: 'VERIFY_ACTIVATION',
      check: 'activation',
    })
  })

  test('a secret that differs in any one byte, and an id that does', () => {
    const { kept } = makeChallenge(bytesOf(it.evidence), it.options)
    const codes = (member: 'id' | 'secret') =>
      Array.from(kept[member], (byte, at) => {
        const changed = Buffer.from(kept[member])
        changed.writeUInt8(byte ^ 1, at)
        const answer = { ...answerOf(kept), [member]: changed }
        return refusalOf(() => finishChallenge(answer, kept, NOW)).code
      })
    expect(codes('secret')).toEqual(Array(32).fill('VERIFY_ACTIVATION'))
    expect(codes('id')).toEqual(Array(16).fill('VERIFY_CHALLENGE'))
  })

  test.each([
    ['even', (modulus: Buffer) => modulus.writeUInt8(modulus.readUInt8(255) & 0xfe, 255)],
    ['of fewer bits than it says', (modulus: Buffer) => modulus.fill(0, 0, 255)],
  ])('no challenge for an RSA key whose modulus is %s', async (_, damage) => {
    const { nonce, options } = it
    const bare = await gatherEvidence(tpm, { nonce, ekKind: 'RSA-2048', certificates: [] })
    const publicArea = Buffer.from(bare.ek.public)
    const modulus = publicArea.subarray(publicArea.length - 256)
    damage(modulus)
    const spki = rsaSpki(modulus, Buffer.from('010001', 'hex'))
    const ekPins = [createHash('sha256').update(spki).digest('hex')]
    const evidence = { ...bare, ek: { ...bare.ek, public: publicArea } }
    const asked = { ...options, trust: { ekPins }, demandDocument: false }
    const refusal = refusalOf(() => makeChallenge(bytesOf(evidence), asked))
    expect(refusal).toEqual({ code: 'VERIFY_STRUCTURE', check: 'endorsement' })
  })

  test('a replayed answer of another challenge (CVE-2021-3406)', () => {
    const [one, two] = [0, 1].map(() => makeChallenge(bytesOf(it.evidence), it.options).kept)
    if (one === undefined || two === undefined) throw new Error('no challenge')
    const answer = {
      format: 'metabind answer',
      version: 1,
      id: one.id,
      secret: one.secret,
    } as const
    expect(refusalOf(() => finishChallenge(answer, two, NOW))).toEqual({
      code: 'VERIFY_CHALLENGE',
      check: 'activation',
    })
  })

  test('an answer that comes too late', () => {
    const { kept } = makeChallenge(bytesOf(it.evidence), it.options)
    const answer = {
      format: 'metabind answer',
      version: 1,
      id: kept.id,
      secret: kept.secret,
    } as const
    const last = new Date(kept.expiresAtMs)
    expect(finishChallenge(answer, kept, last)).toEqual({
      ekName: kept.ekName,
      akName: kept.akName,
    })
    const late = new Date(kept.expiresAtMs + 1)
    expect(refusalOf(() => finishChallenge(answer, kept, late))).toEqual({
      code: 'VERIFY_CHALLENGE_EXPIRED',
      check: 'activation',
    })
  })
})

describe('TPM2_MakeCredential without a TPM', () => {
  test.each(EK_KINDS)('is opened by the TPM: %s', async (kind) => {
    const { ek, ak } = await publicsOf(kind)
    const secret = randomBytes(32)
    expect(await activate(makeCredential(parsePublic(ek), nameOf(ak), secret), kind)).toEqual(
      secret,
    )
  })

  test('wrong Name, tampered blob, tampered secret', async () => {
    const { ek, ak } = await publicsOf('P-256')
    const secret = randomBytes(32)
    const good = makeCredential(parsePublic(ek), nameOf(ak), secret)
    const flip = (bytes: Buffer, at: number) => {
      const flipped = Buffer.from(bytes)
      flipped.writeUInt8(flipped.readUInt8(at) ^ 1, at)
      return flipped
    }
    const otherName = makeCredential(parsePublic(ek), randomBytes(34), secret)
    const blob = { ...good, credentialBlob: flip(good.credentialBlob, 40) }
    for (const bad of [otherName, blob]) {
      const error = await activate(bad).catch((caught: unknown) => caught)
      expect(error).toBeInstanceOf(TpmError)
      expect(error).toMatchObject({ rc: 0x1df })
    }
  })

  test('another EK', async () => {
    const { ak } = await publicsOf('P-256')
    const other = Buffer.from(it.evidence.ek.public)
    const { ek: rsa } = await publicsOf('RSA-2048')
    const blobs = makeCredential(parsePublic(rsa), nameOf(ak), randomBytes(32))
    await expect(activate(blobs)).rejects.toBeInstanceOf(TpmError)
    expect(other).not.toEqual(rsa)
  })
})

describe('tpm2-tools as the other side', () => {
  test.each(['P-256', 'RSA-2048'] as const)(
    'ours is opened by tpm2_activatecredential: %s',
    async (kind) => {
      const type = kind === 'P-256' ? 'ecc' : 'rsa'
      await createAk(swtpm, type, ['ecc', 'sha256', 'ecdsa'])
      const at = (file: string) => join(swtpm.dir, file)
      const ek = parsePublic((await readFile(at('ek.pub'))).subarray(2))
      const akName = nameOf((await readFile(at('ak.pub'))).subarray(2))
      const secret = randomBytes(32)
      await writeFile(at('cred'), encodeToolsCredential(makeCredential(ek, akName, secret)))
      await tpm2(swtpm, 'startauthsession', '--policy-session', '-S', 's.ctx')
      await tpm2(swtpm, 'policysecret', '-S', 's.ctx', '-c', 'e')
      await tpm2(
        swtpm,
        'activatecredential',
        '-c',
        'ak.ctx',
        '-C',
        'ek.ctx',
        '-i',
        'cred',
        '-o',
        'opened',
        '-P',
        'session:s.ctx',
      )
      await flushTools(swtpm)
      expect(await readFile(at('opened'))).toEqual(secret)
    },
  )

  test.each(['P-256', 'RSA-2048'] as const)(
    "tpm2_makecredential's is opened by our activation: %s",
    async (kind) => {
      const { ek, ak } = await publicsOf(kind)
      const secret = randomBytes(32)
      const pem = keyObjectOf(parsePublic(ek)).export({ type: 'spki', format: 'pem' })
      const at = (file: string) => join(directory, file)
      await writeFile(at('ek.pem'), pem)
      await writeFile(at('secret'), secret)
      const name = nameOf(ak).toString('hex')
      const type = kind === 'P-256' ? 'ecc' : 'rsa'
      const args = [
        '-T',
        'none',
        '-u',
        at('ek.pem'),
        '-G',
        type,
        '-s',
        at('secret'),
        '-n',
        name,
        '-o',
        at('cred'),
      ]
      await promisify(execFile)('tpm2_makecredential', args, { timeout: 120_000 })
      expect(await activate(decodeToolsCredential(await readFile(at('cred'))), kind)).toEqual(
        secret,
      )
    },
  )
})
