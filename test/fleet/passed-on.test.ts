import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { scratch } from '../harness/metabind.ts'
import { newSoftwareSeeds, softwareTpm } from '../harness/software-tpm.ts'
import { registrarCommand } from './registrar-command.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'
import {
  type EvidenceJson,
  enrolledBy,
  freshEvidence,
  type SoftwareInstance,
  unknownInstance,
} from './software-instance.ts'

/**
 * Whoever has seen what an instance sent, and sends it again with something else in it. The rules are those that let
 * most in: an EK of software is as good as any.
 */

const RULES = `[admission]
unanchored = "admit"
instance_id = "word"
`
const stack = new AsyncDisposableStack()
let registrar: RegistrarProcess
beforeAll(async () => {
  const directory = stack.use(await scratch()).path
  registrar = await startRegistrarProcess(join(directory, 'registrar'), RULES)
  stack.defer(() => registrar.end())
})
afterAll(() => stack.disposeAsync())

const evidenceOf = (instance: SoftwareInstance, generation = 0) =>
  freshEvidence(instance, registrar, generation)

const sent = (evidence: EvidenceJson, answerer: Pick<SoftwareInstance, 'tpm'>, generation = 0) =>
  enrolledBy(registrar, evidence, answerer, { generation })

async function stateOf(word: string): Promise<unknown> {
  const { stdout } = await registrarCommand(registrar, 'show', word, '--json')
  return JSON.parse(stdout).state
}

let count = 0
let victim: SoftwareInstance
beforeEach(() => {
  count += 1
  victim = unknownInstance(`i-victim${count}`)
})

test('an instance of software enrols, where rules let it', async () => {
  expect(await sent(await evidenceOf(victim), victim)).toMatchObject({
    status: 200,
    body: { generation: 1, state: 'active' },
  })
  expect(await sent(await evidenceOf(victim, 1), victim, 1)).toMatchObject({
    body: { generation: 2 },
  })
})

describe('evidence of an instance with an EK of the attacker’s in it', () => {
  const attacker = { tpm: softwareTpm(newSoftwareSeeds()) }
  const passedOn = (evidence: EvidenceJson, instanceId = 'i-attacker'): EvidenceJson => {
    const ek = { ...evidence.ek, public: attacker.tpm.ekPublic.toString('base64') }
    return { ...evidence, ek, instanceId }
  }

  test('suspends nobody: the AK has not signed that this is its EK', async () => {
    await sent(await evidenceOf(victim), victim)
    expect(await sent(passedOn(await evidenceOf(victim)), attacker)).toMatchObject({
      status: 403,
      body: { error: 'VERIFY_BIND' },
    })
    expect(await stateOf(victim.instanceId)).toBe('active')
    expect(await sent(await evidenceOf(victim, 1), victim, 1)).toMatchObject({ status: 200 })
  })

  test('comes first, and keeps nobody out', async () => {
    expect((await sent(passedOn(await evidenceOf(victim)), attacker)).status).toBe(403)
    const claimed = passedOn(await evidenceOf(victim), victim.instanceId)
    expect((await sent(claimed, attacker)).status).toBe(403)
    expect(await sent(await evidenceOf(victim), victim)).toMatchObject({ status: 200 })
  })
})

test('a generation that the instance did not show is not taken for its word', async () => {
  let generation = 0
  for (const shown of [0, 1, 0]) {
    const { body } = await sent(await evidenceOf(victim, shown), victim, shown)
    generation = Number(body.generation)
  }
  // The second enrolment is of a branch that was left: to show it would be a copy's word.
  const evidence = await evidenceOf(victim, generation)
  expect(await sent(evidence, victim, 2)).toMatchObject({ body: { error: 'VERIFY_BIND' } })
  expect(await stateOf(victim.instanceId)).toBe('active')
})
