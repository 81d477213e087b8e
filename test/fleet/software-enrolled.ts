import { expect } from 'vitest'
import type { SoftwareSeeds } from '../harness/software-tpm.ts'
import { newNonce, post } from './enrolling.ts'
import type { RegistrarProcess } from './registrar-process.ts'
import {
  answerTo,
  type ChallengeJson,
  evidenceFor,
  type SoftwareInstance,
  unknownInstance,
} from './software-instance.ts'

/** What lets instances of software in. */
export const ADMITS_SOFTWARE = '[admission]\nunanchored = "admit"\ninstance_id = "word"\n'

/** An instance without a TPM that has enrolled at a registrar which lets it in. */
export async function enrolledSoftware(
  registrar: RegistrarProcess,
  instanceId: string,
  seeds?: SoftwareSeeds,
): Promise<SoftwareInstance> {
  const instance = unknownInstance(instanceId, seeds)
  const bound = { nonce: await newNonce(registrar.origin), url: registrar.url, generation: 0 }
  const evidence = evidenceFor(instance, bound)
  const { body } = await post(registrar.origin, '/enrol/challenge', { evidence })
  const answer = answerTo(instance, body.challenge as ChallengeJson)
  expect((await post(registrar.origin, '/enrol', { answer })).body.state).toBe('active')
  return instance
}
