/**
 * Somebody with a genuine endorsement certificate makes all attestations by a key in software, shows them to a verifier,
 * and answers its challenge: with a guess, and by having the genuine TPM answer for the false key.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, inject, test } from 'vitest'
import { decodeEvidence, encodeEvidence } from '../../src/format/evidence.ts'
import { metabindAs, whileServed } from '../harness/attack.ts'
import { forge } from '../harness/attacker.ts'
import { startVerifier } from '../harness/verifier.ts'

test('it stays provisional, and no challenge is answered', async () => {
  const target = inject('target')
  const { at, verify, asked } = await startVerifier()
  const genuine = decodeEvidence(await readFile(at('evidence')))
  await writeFile(at('forged'), encodeEvidence(forge(genuine)))
  const alone = await verify(at('forged'), ...asked, '--json')
  expect([alone.code, JSON.parse(alone.stdout)]).toMatchObject([3, { verified: false }])

  const files = ['--out', at('challenge'), '--secret-out', at('secret')]
  expect(await verify('challenge', at('forged'), ...asked, ...files)).toMatchObject({ code: 0 })
  // The genuine agent, asked by root of the instance, which the forger is.
  const activated = await whileServed(target.metadataSocket, () =>
    metabindAs(0, ['activate', at('challenge')], target),
  )
  expect([activated.code, activated.stdout]).toEqual([1, ''])
  expect(activated.stderr).toContain('ACTIVATION_OTHER')

  const { id } = JSON.parse(await readFile(at('challenge'), 'utf8'))
  const guess = Buffer.alloc(32, 1).toString('base64')
  await writeFile(
    at('answer'),
    JSON.stringify({ format: 'metabind answer', version: 1, id, secret: guess }),
  )
  const finished = await verify('finish', at('answer'), '--secret', at('secret'))
  expect([finished.code, finished.stdout]).toEqual([1, ''])
  expect(finished.stderr).toMatch(/^metabind: VERIFY_/)
})
