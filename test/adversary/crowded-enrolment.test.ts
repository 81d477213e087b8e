/**
 * Somebody with many addresses, and the whole of an IPv6 network, begins enrolments and answers none of their challenges,
 * until all places of those that wait are taken: nobody else should get in.
 */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startRegistrarProcess } from '../fleet/registrar-process.ts'
import {
  enrolledBy,
  freshEvidence,
  requested,
  unknownInstance,
} from '../fleet/software-instance.ts'
import { scratch } from '../harness/metabind.ts'

const RULES = `pending = 8
pending_per_address = 2
[admission]
unanchored = "admit"
instance_id = "word"
`

test('places are shared: a newcomer gets one from whoever has most', async () => {
  const directory = await scratch()
  onTestFinished(() => directory[Symbol.asyncDispose]())
  const registrar = await startRegistrarProcess(join(directory.path, 'registrar'), RULES)
  onTestFinished(() => registrar.end())
  const attacker = unknownInstance('i-attacker')
  const begun = async (from: string) => {
    const evidence = await freshEvidence(attacker, registrar)
    return (await requested(registrar, '/enrol/challenge', { evidence }, from)).status
  }
  const site = [0, 1, 0xfe, 0xff].map((number) => `2001:db8:0:${number.toString(16)}::1`)
  expect(await Promise.all(site.map(begun))).toEqual(expect.arrayContaining([200, 200, 503, 503]))
  for (const number of [1, 2, 3]) {
    for (let turn = 0; turn < 3; turn += 1) await begun(`198.51.100.${number}`)
  }
  for (const number of [1, 2, 3]) {
    const instance = unknownInstance(`i-honest${number}`)
    const evidence = await freshEvidence(instance, registrar)
    const enrolled = enrolledBy(registrar, evidence, instance, { from: `192.0.2.${number}` })
    expect(await enrolled).toMatchObject({ status: 200 })
    await begun('198.51.100.1')
  }
})
