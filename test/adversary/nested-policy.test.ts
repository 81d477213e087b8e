/**
 * Somebody whose text gets into the policy or the configuration, by a tool of the administrator's, nests it tens of
 * thousands deep, gives it a hundred thousand keys, or megabytes of one string; and the agent is told to read it.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ownAgent, whileServed } from '../harness/attack.ts'
import { reloadPolicy } from '../harness/reload.ts'

const DEEP = 100_000
const TEXTS: readonly (readonly [string, string])[] = [
  ['arrays', `a = ${'['.repeat(DEEP)}`],
  ['inline tables', `a = ${'{a='.repeat(DEEP)}1`],
  ['dotted keys', `${Array(DEEP).fill('a').join('.')} = 1`],
  ['a table within tables', `[${Array(DEEP).fill('a').join('.')}]`],
  ['a hundred thousand keys', Array.from({ length: DEEP }, (_, at) => `k${at} = 1`).join('\n')],
  ['ten thousand rules', '[[rule]]\neffect = "allow"\npaths = ["/**"]\n'.repeat(10_000)],
  ['megabytes of a string', `mode = "${'x'.repeat(8_000_000)}"`],
]

test('each is refused, and the agent goes on by what it had', async (context) => {
  const { instance, directory, cgroup } = await ownAgent(context)
  const { agent, metadataSocket } = instance
  const configuration = join(directory, 'more.toml')
  const [, policy = ''] = /policy\.file = "(.*)"/.exec(await readFile(configuration, 'utf8')) ?? []
  await whileServed(metadataSocket, async () => {
    for (const file of [policy, configuration]) {
      const before = await readFile(file, 'utf8')
      for (const [what, text] of TEXTS) {
        const { msg } = await reloadPolicy(agent, file, text)
        expect([what, msg]).toEqual([what, expect.stringMatching(/^configuration not reloaded/)])
      }
      await writeFile(file, before)
    }
  })
  expect([agent.child.exitCode, await cgroup.kills()]).toEqual([null, 0])
})
