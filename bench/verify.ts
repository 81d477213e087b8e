import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { z } from 'zod'
import { type Row, round } from './compare.ts'
import { cpuMsOf, median } from './process.ts'
import { verificationCase } from './verification-case.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const CHILD = fileURLToPath(new URL('verifications.ts', import.meta.url))
const TIMES = 10_000
const ROUNDS = 9

const tookSchema = z.object({ firstCpuMs: z.number(), cpuMs: z.number(), grownKib: z.number() })

/** What a service that verifies evidence pays: to load the library as it is published, and for each evidence. */
export async function verify(directory: string): Promise<Row[]> {
  const { tarball, library } = await unpacked(directory)
  const file = join(directory, 'case.json')
  writeFileSync(file, JSON.stringify(verificationCase()))
  const node = process.execPath
  const bare: number[] = []
  const loading: number[] = []
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    bare.push(await cpuMsOf([node, '-e', '0']))
    loading.push(await cpuMsOf([node, '-e', `import(${JSON.stringify(library)})`]))
  }
  const { stdout } = await run(node, [CHILD, library, file, String(TIMES)])
  const { firstCpuMs, cpuMs, grownKib } = tookSchema.parse(JSON.parse(stdout))
  const row = (subject: string, values: Row['values']): Row => ({
    question: 'verify',
    subject,
    values,
  })
  return [
    row('the tarball', { KiB: round(statSync(tarball).size / 1024) }),
    row('node -e 0', { 'CPU ms': round(median(bare)) }),
    row("import('metabind/verify')", {
      'CPU ms': round(median(loading)),
      'x node -e 0': round(median(loading) / median(bare)),
    }),
    row('the first evidence', { 'CPU ms': round(firstCpuMs) }),
    row(`each of ${TIMES}`, { 'CPU ms': round(cpuMs), 'heap grown KiB': grownKib }),
  ]
}

/** The library from its tarball, beside the packages that it depends on. */
async function unpacked(directory: string) {
  const args = [join(ROOT, 'packaging/package.ts'), '--format', 'npm', '--out', directory]
  await run(process.execPath, args)
  const { version } = packageSchema.parse(jsonOf(join(ROOT, 'package.json')))
  const tarball = join(directory, `metabind-${version}.tgz`)
  await run('tar', ['xf', tarball, '-C', directory])
  const manifest = packageSchema.parse(jsonOf(join(directory, 'package/package.json')))
  const modules = join(directory, 'package/node_modules')
  mkdirSync(modules)
  for (const name of Object.keys(manifest.dependencies)) {
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  }
  return { tarball, library: join(directory, 'package', manifest.exports['./verify']) }
}

const packageSchema = z.object({
  version: z.string(),
  dependencies: z.record(z.string(), z.string()),
  exports: z.object({ './verify': z.string() }),
})

function jsonOf(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'))
}
