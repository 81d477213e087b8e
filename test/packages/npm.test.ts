import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { VerifyOptions } from '../../src/verify/index.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { VECTORS } from '../harness/vectors.ts'
import { bytesOf, genuineCase, INSTANCE_ID } from '../harness/verify-case.ts'
import { compileConsumers, installTarballs, olderNode, packNpm } from './installed.ts'

/** What `./dev package` makes for npm, in the hands of a stranger. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const BUILD_MS_MAX = 120_000
const RUN_MS_MAX = 110_000
const SHIPPED =
  /^((README|docs\/[a-z]+)\.md|LICENSE|package\.json|lib\/([\w-]+\/)?[\w-]+(\.d\.ts|\.js))$/
const TESTS = /(^|\/)tests?\/|\.test\./

let work: string
let instance: Instance
let tpm: Tpm
const at = (path: string) => join(work, path)
const installed = (name: string) => at(`consumer/node_modules/${name}`)

async function install(): Promise<void> {
  const names = await packNpm(at('dist'))
  const tarballs = names.map((file) => [file.replace(/-[\d.]+tgz$/, ''), at(`dist/${file}`)])
  await installTarballs(Object.fromEntries(tarballs), at('consumer'))
  await compileConsumers(at('consumer'), 'nodenext', { module: 'nodenext' })
}

beforeAll(async () => {
  work = mkdtempSync('/tmp/metabind-npm-')
  await install()
  instance = await startInstance(at('instance'), { role: 'app-role' })
  tpm = await openTpm({ tcti: instance.tpm.tcti })
}, BUILD_MS_MAX)

afterAll(async () => {
  await tpm?.close()
  await instance?.stop()
  rmSync(work, { recursive: true })
})

function filesOf(name: string): string[] {
  const entries = readdirSync(installed(name), { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name: file }) => join(parentPath, file).slice(installed(name).length + 1))
}

describe.each([
  ['metabind', ['asn1js', 'cborg', 'pkijs', 'zod']],
  ['tpm2-js', ['koffi']],
])('the package %s', (name, dependencies) => {
  const textOf = (file: string) => readFileSync(join(installed(name), file), 'utf8')

  test('holds JavaScript with declarations, what to read, and nothing else', () => {
    const files = filesOf(name)
    expect(files.filter((file) => !SHIPPED.test(file) || TESTS.test(file))).toEqual([])
    const undeclared = files
      .filter((file) => file.endsWith('.js'))
      .filter((file) => !files.includes(file.replace(/js$/, 'd.ts')))
    expect(undeclared).toEqual([])
  })

  test('has no path of the machine that made it', () => {
    const paths = [ROOT, '/tmp/', 'file://', 'sourceMappingURL', 'node_modules/']
    const found = filesOf(name).filter((file) => paths.some((path) => textOf(file).includes(path)))
    expect(found).toEqual([])
  })

  test('depends on what it imports, and metabind on nothing native', () => {
    expect(Object.keys(JSON.parse(textOf('package.json')).dependencies)).toEqual(dependencies)
  })

  test('has what its exports and the links of its pages lead to', () => {
    const exported: string[] = Object.values(JSON.parse(textOf('package.json')).exports)
    const linked = filesOf(name)
      .filter((file) => file.endsWith('.md'))
      .flatMap((file) =>
        [...textOf(file).matchAll(/\]\(([^):#]+)[^):]*\)/g)].map(([, link = '']) =>
          join(dirname(file), link),
        ),
      )
    expect(exported.length).toBeGreaterThan(0)
    for (const path of [...exported, ...linked]) {
      expect(existsSync(join(installed(name), path)), path).toBe(true)
    }
  })
})

test(
  'another build gives the same bytes, whatever the umask',
  async () => {
    for (const file of await packNpm(at('again'), 0o077)) {
      const [one, other] = ['dist', 'again'].map((folder) => readFileSync(at(`${folder}/${file}`)))
      expect(one?.equals(other ?? Buffer.alloc(0)), file).toBe(true)
    }
  },
  BUILD_MS_MAX,
)

describe('programs that use the packages', () => {
  const older = olderNode()

  test(
    'compile strictly with moduleResolution bundler, as with nodenext before',
    async () => {
      const options = { module: 'preserve', noEmit: true }
      await compileConsumers(at('consumer'), 'bundler', options)
    },
    BUILD_MS_MAX,
  )

  describe.each([
    ["the project's Node", process.execPath],
    ["the machine's older Node", older],
  ])('run by %s', (_name, node = '') => {
    const run = async (program: string, args: readonly string[], input = '') => {
      const options = { cwd: '/', timeout: RUN_MS_MAX, maxBuffer: 1 << 24 }
      const running = promisify(execFile)(node, [at(`consumer/${program}`), ...args], options)
      running.child.stdin?.end(input)
      return (await running).stdout
    }

    test.skipIf(node === '')('metabind/client', async () => {
      expect(JSON.parse(await run('client.mjs', [instance.metadataSocket]))).toEqual({
        instanceId: instance.cloud?.instanceId,
        token: 86,
        keyId: expect.stringMatching(/^STS\./),
        secretBytes: expect.any(Number),
        printed: '[secret]',
        lives: true,
        region: 'cn-hangzhou',
        absent: 'METADATA_ABSENT',
        down: 'SOCKET_ABSENT',
      })
    })

    test.skipIf(node === '')(
      'metabind/alicloud, by @alicloud/credentials in CommonJS',
      async () => {
        expect(JSON.parse(await run('alicloud.cjs', [instance.metadataSocket]))).toEqual({
          accessKeyId: expect.stringMatching(/^STS\./),
          providerName: 'metabind',
          tokenBytes: expect.any(Number),
        })
      },
    )

    test.skipIf(node === '')(
      'metabind/verify, with genuine evidence and every vector',
      async () => {
        const genuine = await genuineCase(tpm)
        const cases: { evidence: Buffer; options: VerifyOptions }[] = [
          { evidence: bytesOf(genuine.evidence), options: genuine.options },
        ]
        for (const { alter } of VECTORS) {
          const { evidence = genuine.evidence, options } = await alter(genuine)
          cases.push({ evidence: bytesOf(evidence), options: { ...genuine.options, ...options } })
        }
        const said = await run('verify.mjs', [], cases.map(asLine).join('\n'))
        expect(said.trim().split('\n')).toEqual([INSTANCE_ID, ...VECTORS.map(({ code }) => code)])
      },
    )

    test.skipIf(node === '')('tpm2-js', async () => {
      const seen = { random: 16, refusal: 'TPM_TCTI_UNNAMED' }
      expect(JSON.parse(await run('tpm.mjs', [instance.tpm.tcti]))).toEqual(seen)
    })
  })
})

/** As consumer/verify.mts reads it. */
function asLine(value: object): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key, shown) {
    // Buffer's toJSON came first.
    const original = this[key]
    return original instanceof Uint8Array
      ? { base64: Buffer.from(original).toString('base64') }
      : shown
  })
}
