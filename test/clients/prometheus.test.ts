import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { type HeldSockets, holdSockets } from '../harness/held-sockets.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { isUnpacked, NEEDS_RELEASE, releaseRoot } from '../harness/release.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { get } from '../simulate/request.ts'

/** Prometheus itself, with what docs/metrics.md tells people to give it. */

const ROOT = releaseRoot('bookworm')
const PAGE = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
const RECIPE = /```yaml\n(scrape_configs:\n[^`]+)```/.exec(PAGE)?.[1] ?? 'no recipe'
const UNIT = readFileSync(new URL('../../systemd/metabind-metrics.socket', import.meta.url), 'utf8')
const ADDRESS = /^ListenStream=(.+)$/m.exec(UNIT)?.[1] ?? 'no address'

describe.skipIf(!isUnpacked('bookworm'))(`Prometheus [${NEEDS_RELEASE}]`, () => {
  let directory: string
  let scratch: Awaited<ReturnType<typeof scratchDirectory>>
  let held: HeldSockets
  let instance: Instance
  let prometheus: ChildProcess
  let api: string

  beforeAll(async () => {
    scratch = await scratchDirectory()
    directory = await mkdtemp(join(ROOT, 'tmp/prometheus-'))
    const [metrics, web] = [await freePort(), await freePort()]
    held = holdSockets({
      metadata: join(scratch.path, 'metadata.sock'),
      admin: join(scratch.path, 'admin.sock'),
      metrics,
    })
    instance = await startInstance(scratch.path, { agent: held.agent })
    const recipe = RECIPE.replace(ADDRESS, `127.0.0.1:${metrics}`)
    await writeFile(join(directory, 'p.yml'), `global:\n  scrape_interval: 1s\n${recipe}`)
    const there = directory.slice(ROOT.length)
    api = `http://127.0.0.1:${web}`
    prometheus = spawn(
      'chroot',
      [
        ...[ROOT, '/usr/bin/prometheus', `--config.file=${there}/p.yml`],
        ...[`--storage.tsdb.path=${there}/data`, `--web.listen-address=127.0.0.1:${web}`],
      ],
      { stdio: 'ignore' },
    )
  })

  afterAll(async () => {
    if (prometheus?.kill()) await once(prometheus, 'exit')
    await instance?.stop()
    held?.close()
    await rm(scratch.path, { recursive: true, force: true })
    if (directory !== undefined) await rm(directory, { recursive: true })
  })

  test('scrapes the metrics of the agent, and none of the admin socket', async () => {
    expect(RECIPE).toContain(ADDRESS)
    const sampleOf = async (query: string) => {
      const { body } = await get(api, `/api/v1/query?query=${query}`)
      return JSON.parse(body).data.result[0]?.value[1]
    }
    await expect.poll(() => sampleOf('metabind_ready').catch(() => undefined)).toBe('1')
    expect(await sampleOf('up%7Bjob=%22metabind%22%7D')).toBe('1')
  })
})
