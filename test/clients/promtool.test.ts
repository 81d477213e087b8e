import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import { isUnpacked, NEEDS_RELEASE, releaseRoot } from '../harness/release.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { get } from '../simulate/request.ts'

/** Prometheus's own tool, on the metrics of a running agent and on the alert rules. */

const run = promisify(execFile)
const ROOT = releaseRoot('bookworm')
const FILES = ['../../docs/prometheus-alerts.yml', 'prometheus-alerts.test.yml']

describe.skipIf(!isUnpacked('bookworm'))(`promtool [${NEEDS_RELEASE}]`, () => {
  let directory: string
  let scratch: Awaited<ReturnType<typeof scratchDirectory>>
  let instance: Instance

  const promtool = (...args: string[]) => run('chroot', [ROOT, '/usr/bin/promtool', ...args])

  beforeAll(async () => {
    directory = await mkdtemp(join(ROOT, 'tmp/promtool-'))
    for (const file of FILES) {
      const from = fileURLToPath(new URL(file, import.meta.url))
      await copyFile(from, join(directory, basename(from)))
    }
    scratch = await scratchDirectory()
    instance = await startInstance(scratch.path)
  })

  afterAll(async () => {
    await instance?.stop()
    await scratch?.[Symbol.asyncDispose]()
    if (directory !== undefined) await rm(directory, { recursive: true })
  })

  test('finds nothing to say of the metrics', async () => {
    const { body } = await get(`unix:${instance.adminSocket}`, '/metabind/v1/metrics')
    const checking = promtool('check', 'metrics')
    checking.child.stdin?.end(body)
    const { stdout, stderr } = await checking
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' })
  })

  test('raises each alert of the rules when it should, and only then', async () => {
    const there = directory.slice(ROOT.length)
    const { stdout } = await promtool('test', 'rules', join(there, 'prometheus-alerts.test.yml'))
    expect(stdout).toContain('SUCCESS')
  })
})
