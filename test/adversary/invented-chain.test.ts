/**
 * Whoever keeps the audit files hands an auditor others: invented records in a chain of their own, the agent's genuine
 * checkpoints put behind them, checkpoints signed by another key, and invented records behind a genuine file.
 */
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CHAIN_ORIGIN, encodeBody, encodeLine } from '../../src/audit/chain.ts'
import { ATTACKER, whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { type AuditRecord, auditedAgent, recordsIn } from '../harness/audited.ts'
import { runMetabind } from '../harness/packaged-command.ts'
import { tokenAs } from '../harness/unix-http.ts'

type Event = Parameters<typeof encodeBody>[0]

/** A chain of whatever events, as anybody can write one. */
function chainOf(events: readonly object[]): string {
  let head = CHAIN_ORIGIN
  return events
    .map((event) => {
      const line = encodeLine(head.hash, head.seq + 1, encodeBody(event as Event))
      head = line.head
      return `${line.text}\n`
    })
    .join('')
}

test("with the key of its checkpoints none of it passes for the agent's", async (context) => {
  const { instance, file } = await auditedAgent(context)
  await whileServed(instance.metadataSocket, () =>
    tokenAs({ uid: ATTACKER }, instance.metadataSocket),
  )
  await instance.agent.stop()
  const records = recordsIn(file)
  const genuine = records.at(-1) as AuditRecord & { checkpoint: { key: string } }
  const place = await placeOf(0)
  const [pem, invented] = [join(place, 'sk.pem'), join(place, 'audit.log')]
  writeFileSync(
    pem,
    `-----BEGIN PUBLIC KEY-----\n${genuine.checkpoint.key}\n-----END PUBLIC KEY-----\n`,
  )
  const verify = async (path: string) =>
    (await runMetabind(instance, ['audit', 'verify', path, '--key', pem])).code
  expect(await verify(file)).toBe(0)

  const start = { event: 'chain.start' }
  const innocent = Array.from({ length: 20 }, () => ({ event: 'token.issued', verdict: 'allowed' }))
  const { seq: _seq, hash: _hash, prev: _prev, ...checkpoint } = genuine
  for (const events of [
    [start, ...innocent],
    // As far as the genuine one says, and with it at its place.
    [start, ...innocent, checkpoint],
    [...Array.from({ length: records.length - 1 }, () => innocent[0] ?? start), checkpoint],
    // Without what is to be hidden.
    records
      .filter(({ event }) => event !== 'token.issued')
      .map(({ seq: _s, hash: _h, prev: _p, ...event }) => event),
  ]) {
    writeFileSync(invented, chainOf(events))
    expect(await verify(invented)).toBe(1)
  }
  const { text } = encodeLine(
    String(genuine.hash),
    Number(genuine.seq) + 1,
    encodeBody(innocent[0] as Event),
  )
  appendFileSync(file, `${text}\n`)
  expect(await verify(file)).toBe(3)
})
