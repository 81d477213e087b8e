import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { call } from '../harness/http.ts'
import { DAEMON } from '../harness/programs.ts'
import { scratchDirectory } from '../harness/scratch.ts'

test('a full disk under the log neither ends the agent nor keeps it from ending', async () => {
  await using scratch = await scratchDirectory()
  const at = (name: string) => join(scratch.path, name)
  for (const name of ['run', 'state']) await mkdir(at(name), { mode: 0o700 })
  const config = `[listen]
metadata_socket = "${at('metadata')}"
admin_socket = "${at('admin')}"
[directories]
runtime = "${at('run')}"
state = "${at('state')}"
[tpm]
tcti = "swtpm:path=${at('none')}"
`
  await writeFile(at('config.toml'), config)
  const full = openSync('/dev/full', 'w')
  const args = [DAEMON, '--config', at('config.toml')]
  const agent = spawn(process.execPath, args, { stdio: ['ignore', full, 'inherit'] })
  closeSync(full)
  const exited = once(agent, 'exit')
  const health = () => call(at('admin'), { path: '/metabind/v1/healthz' }).catch(() => undefined)
  await expect.poll(async () => (await health())?.status).toBe(503)
  agent.kill('SIGTERM')
  expect(await exited).toEqual([0, null])
})
