/**
 * Somebody who sees what an instance sends to its registrar, as at a proxy, puts an EK of software into its evidence, claims
 * another instance id, and answers the challenge by that EK: to have the instance suspended as a copy of itself, or to be
 * there before it.
 */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startRegistrarProcess } from '../fleet/registrar-process.ts'
import { enrolledBy, freshEvidence, unknownInstance } from '../fleet/software-instance.ts'
import { scratch } from '../harness/metabind.ts'

const RULES = '[admission]\nunanchored = "admit"\ninstance_id = "word"\n'

test('it is refused, and the instance enrols before and after', async () => {
  const directory = await scratch()
  onTestFinished(() => directory[Symbol.asyncDispose]())
  const registrar = await startRegistrarProcess(join(directory.path, 'registrar'), RULES)
  onTestFinished(() => registrar.end())
  const [victim, attacker] = [unknownInstance('i-victim'), unknownInstance('i-attacker')]
  for (const generation of [0, 1, 2]) {
    const seen = await freshEvidence(victim, registrar, generation)
    const ek = { ...seen.ek, public: attacker.tpm.ekPublic.toString('base64') }
    const forged = { ...seen, ek, instanceId: attacker.instanceId }
    expect(await enrolledBy(registrar, forged, attacker, { generation })).toMatchObject({
      status: 403,
      body: { error: 'VERIFY_BIND' },
    })
    const own = await freshEvidence(victim, registrar, generation)
    expect(await enrolledBy(registrar, own, victim, { generation })).toMatchObject({
      status: 200,
      body: { state: 'active', generation: generation + 1 },
    })
  }
})
