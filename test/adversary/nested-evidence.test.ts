/**
 * An instance that is to be verified sends evidence, a challenge and an answer nested tens of thousands deep, to
 * stop the verifier, a pipe that never ends, or gigabytes.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { APP, attack, metabindAs, whileServed } from '../harness/attack.ts'
import { placeOf } from '../harness/attacker-place.ts'
import { runMetabind } from '../harness/packaged-command.ts'

const HUGE = `import os,sys
os.truncate(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), 1 << 40)`
const NONCE = '00'.repeat(16)

test('the verifier ends with a sentence, and verifies the next', async () => {
  const target = inject('target')
  const place = await placeOf()
  const file = join(place, 'evidence')
  const verify = (...args: string[]) => metabindAs(APP, ['verify', ...args], target)
  await whileServed(target.metadataSocket, async () => {
    for (const open of ['[', '{"evidence":', '{"tpm":{"ek":[']) {
      writeFileSync(file, open.repeat(60_000), { mode: 0o644 })
      for (const args of [
        [file, '--nonce', NONCE],
        [
          'challenge',
          file,
          '--nonce',
          NONCE,
          '--out',
          join(place, 'c'),
          '--secret-out',
          join(place, 's'),
        ],
      ]) {
        const { code, stderr } = await verify(...args)
        expect([open, code]).toEqual([open, 1])
        expect(stderr).toMatch(/^metabind: VERIFY_\w+: [^\n]*\n$/)
      }
    }
    await attack(HUGE, [join(place, 'huge')])
    expect(await verify(join(place, 'huge'), '--nonce', NONCE)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^metabind: [A-Z_]+: [^\n]*\n$/),
    })
    const genuine = await runMetabind(target, ['evidence', '--nonce', NONCE])
    writeFileSync(file, genuine.stdout)
    // Provisional: nothing was said to vouch for this TPM.
    expect((await verify(file, '--nonce', NONCE)).stderr).not.toMatch(/NOT_EVIDENCE|JSON/)
  })
})
