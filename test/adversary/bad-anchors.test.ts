/**
 * Somebody who can write one file of the folder of trust anchors puts in what is none, before the agent is told to read it
 * anew: text, a pipe that nobody writes to, a link to a device without end, megabytes.
 */
import { execFileSync } from 'node:child_process'
import { cp, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { anew, metabindAs, ownAgent, whileServed } from '../harness/attack.ts'

const BAD: readonly ((path: string) => Promise<unknown>)[] = [
  (path) => writeFile(path, 'no certificate'),
  (path) => writeFile(path, Buffer.alloc(8 * 2 ** 20, '-----BEGIN CERTIFICATE-----\n')),
  (path) => symlink('/dev/zero', path),
  async (path) => execFileSync('mkfifo', [path]),
]

test('the old anchors stay, and the agent goes on', async (context) => {
  const packaged = await ownAgent(context, { certified: true })
  const { instance, directory } = packaged
  const trusted = join(directory, 'trusted')
  await cp(join(directory, 'anchors'), trusted, { recursive: true })
  const config = `[tpm]\nek_certificate = "require"\nek_anchors = ${JSON.stringify(trusted)}\n`
  const agent = await anew(packaged, config)
  await agent.ready()
  const bad = join(trusted, 'bad.pem')
  await whileServed(instance.metadataSocket, async () => {
    for (const [tries, put] of BAD.entries()) {
      await put(bad)
      agent.child.kill('SIGHUP')
      const isKept = ({ msg }: { msg?: string }) => String(msg).includes('not reloaded')
      await expect.poll(() => agent.records.filter(isKept).length).toBe(tries + 1)
      await rm(bad)
    }
  })
  const { code, stdout } = await metabindAs(0, ['status', '--json'], instance)
  expect([code, JSON.parse(stdout)]).toMatchObject([0, { selfTest: { anchor: 'ek-certificate' } }])
})
