/**
 * Somebody who can write the TPM's NV memory fills what the agent reads there with what breaks parsers: lengths beyond the
 * end, nesting without end, megabytes that are claimed, a template that is none, noise.
 */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { anew, ownAgent, whileServed } from '../harness/attack.ts'
import {
  EK_CERTIFICATE_NV,
  EK_CHAIN_NV,
  EK_NONCE_NV,
  EK_TEMPLATE_NV,
  writeNv,
} from '../harness/nv.ts'

const HOSTILE: readonly (readonly [what: string, index: number, bytes: Buffer])[] = [
  ['a length of 4 GiB', EK_CERTIFICATE_NV, Buffer.from('3084ffffffff30', 'hex')],
  ['nesting', EK_CERTIFICATE_NV, Buffer.from(`308203fc${'30820100'.repeat(255)}`, 'hex')],
  ['indefinite lengths', EK_CERTIFICATE_NV, Buffer.from('3080'.repeat(500), 'hex')],
  ['noise', EK_CERTIFICATE_NV, randomBytes(1500)],
  ['padding alone', EK_CERTIFICATE_NV, Buffer.alloc(1500, 0xff)],
  ['a chain of noise', EK_CHAIN_NV, randomBytes(1500)],
  ['a nonce without end', EK_NONCE_NV, randomBytes(1500)],
  ['a template of noise', EK_TEMPLATE_NV, randomBytes(300)],
]

test('the agent says what is wrong, or does without; it never breaks', async (context) => {
  const packaged = await ownAgent(context)
  const { tpm, metadataSocket } = packaged.instance
  for (const [what, index, bytes] of HOSTILE) {
    await writeNv(tpm, index, bytes)
    const agent = await anew(packaged)
    const said = await agent.until(({ msg }) => msg === 'boot waits' || msg === 'ready')
    if (said.msg !== 'ready') expect(said.code, what).toMatch(/^(TPM_NV|VERIFY_)/)
    await tpm2(tpm, 'nvundefine', '-C', 'p', `0x${index.toString(16)}`)
    expect(agent.child.exitCode).toBe(null)
    await agent.stop()
  }
  await anew(packaged).then((agent) => agent.ready())
  await whileServed(metadataSocket, async () => undefined)
})
