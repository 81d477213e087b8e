import assert from 'node:assert/strict'
import { MetabindError } from '../../../src/errors.ts'
import { evidenceOfJson } from '../../../src/format/evidence.ts'
import { type AdmissionRules, admitIfAnswered } from '../../../src/registrar/admission.ts'
import { answerOf, challengeRequestOf } from '../../../src/registrar/enrolment-request.ts'
import { parseTrust } from '../../../src/verify/trust.ts'
import { evidenceFor, type SoftwareInstance } from '../../fleet/software-instance.ts'
import { makeAuthority, makeEkCertificate } from '../../harness/certificate.ts'
import { newSoftwareSeeds, softwareTpm, spkiOfSoftwareKey } from '../../harness/software-tpm.ts'
import { altered, Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const URL = 'https://registrar.example'
const NONCE = 'ab'.repeat(64)
const GENERATION = 3
const NOW = new Date('2026-11-29T12:00:00Z')
const authority = makeAuthority('Fuzz Authority')
const genuine = genuineBody()
const rules: AdmissionRules = {
  trust: parseTrust({ ekAnchors: [authority.der] }),
  ...{ anchored: 'admit', unanchored: 'hold', instanceId: 'proven', pcrPolicy: undefined },
}
const expected = admitted(genuine).value

function genuineBody(): Buffer {
  const seeds = newSoftwareSeeds()
  const instanceId = 'i-bp1234567890abcdefgh'
  const certificate = makeEkCertificate(authority, spkiOfSoftwareKey(seeds.ek), {
    subject: instanceId,
  })
  const instance: SoftwareInstance = {
    ...{ instanceId, tpm: softwareTpm(seeds), document: undefined },
    certificates: [certificate.toString('base64')],
    boot: { pcrs: { 0: Buffer.alloc(32, 1) }, eventLog: undefined },
  }
  const evidence = evidenceFor(instance, { nonce: NONCE, url: URL, generation: GENERATION })
  return Buffer.from(JSON.stringify({ evidence, generation: GENERATION }))
}

function admitted(body: Buffer) {
  return outcome(() => {
    const { evidence: json, generation } = challengeRequestOf(body)
    const demands = {
      nonce: Buffer.from(NONCE, 'hex'),
      url: URL,
      generation,
      now: NOW,
      exporter: undefined,
    }
    return admitIfAnswered(evidenceOfJson(json), Buffer.alloc(32), demands, rules).admitted
  })
}

export const target: FuzzTarget = {
  execution:
    'one body of an enrolment read and its evidence verified; an altered one may prove nothing else',
  bytesMax: 512,
  words: ['"evidence":', '"generation":', '"answer":', '"nonce":', '"format":"metabind answer"'],
  seeds: () => [
    asItIs('{"evidence":{},"generation":0}'),
    asItIs('{"answer":{"format":"metabind answer","version":1,"id":"00","secret":""}}'),
    ...[0, 40, 200].map((at) => chosen(0, 0, 0, at, 1, 1)),
  ],
  run(input) {
    const choices = new Choices(input)
    const isChosen = choices.byte() === CHOSEN
    const body = isChosen ? altered(genuine, choices) : choices.rest()
    const { code } = outcome(() => answerOf(body))
    if (code !== undefined) assert.match(code, /^(VERIFY|ENROL)_/)
    const found = admitted(body)
    if (found.code !== undefined) {
      assert.match(found.code, /^(VERIFY|ENROL)_/)
      return
    }
    // What is left out proves less; whose keys they are, and when, is under signatures.
    const own = ({ iid, sk, ekName, akName, record }: NonNullable<typeof expected>) => [
      ...[iid, sk, ekName, akName, record.clockMs, record.resetCount],
    ]
    if (expected === undefined) throw new MetabindError('INTERNAL', 'genuine evidence is refused')
    assert.deepEqual(own(found.value), own(expected))
  },
}
