import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { type Bundle, bundle } from '../../packaging/bundle.ts'
import { bashCompletion, fishCompletion, zshCompletion } from '../../packaging/completions.ts'
import { configKeys, configReference } from '../../packaging/config-reference.ts'
import { type Command, readCommand, readHelp } from '../../packaging/help-text.ts'
import { components } from '../../packaging/licences.ts'
import { commandPage, configPage, daemonPage } from '../../packaging/manual.ts'
import { parseConfig } from '../../src/config.ts'
import { startSimulator } from '../../src/simulate/simulator.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PAGE = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8')
const PROJECT = {
  version: '1.2.3',
  maintainer: 'M <m@example.com>',
  homepage: 'https://example.com/',
}
const HEADING = { ...PROJECT, date: '2026-11-23' }
const KOFFI_FILE = process.arch === 'x64' ? 'linux_x64' : 'linux_arm64'

let directory: string
let bundled: Bundle
let command: Command

beforeAll(async () => {
  // Far from the project, so that nothing is found in node_modules by accident.
  directory = mkdtempSync('/tmp/metabind-bundle-')
  bundled = await bundle(directory)
  // Before koffi is there: the help of a package for another architecture is read without a native part that runs here.
  command = readCommand(process.execPath, join(directory, 'metabind.cjs'))
  const require = createRequire(join(ROOT, 'native/tpm2-js/package.json'))
  const koffi = dirname(require.resolve(`@koromix/koffi-linux-${process.arch}`))
  copyFileSync(join(koffi, KOFFI_FILE, 'koffi.node'), join(directory, 'koffi.node'))
  return () => rmSync(directory, { recursive: true })
})

describe('the bundle', () => {
  test('becomes ready in a folder of its own', async () => {
    const work = mkdtempSync('/tmp/metabind-bundled-')
    const tpm = await startSwtpm()
    const cloud = await startSimulator({ instanceId: 'i-bundled00000000000' })
    mkdirSync(join(work, 'run'))
    const config = `[tpm]
tcti = "${tpm.tcti}"
[source]
endpoint = "${cloud.url}"
identity_certificate = "${work}/cloud.pem"
[listen]
metadata_socket = "${work}/metadata.sock"
admin_socket = "${work}/admin.sock"
[directories]
runtime = "${work}/run"
state = "${work}/run"
`
    writeFileSync(join(work, 'config.toml'), config)
    writeFileSync(join(work, 'cloud.pem'), cloud.certificatePem)
    const args = [join(directory, 'metabindd.cjs'), '--config', join(work, 'config.toml')]
    const agent = spawn(process.execPath, args, { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(async () => {
      agent.kill('SIGKILL')
      await cloud.close()
      await tpm.stop()
      rmSync(work, { recursive: true })
    })
    const lines: string[] = []
    for await (const line of createInterface({ input: agent.stdout })) {
      lines.push(line)
      if (line.includes('"msg":"ready"')) break
    }
    expect(JSON.parse(lines.at(-1) ?? '{}')).toMatchObject({ instanceId: 'i-bundled00000000000' })
  })

  test('is the same twice', async () => {
    const again = mkdtempSync('/tmp/metabind-bundle-')
    onTestFinished(() => rmSync(again, { recursive: true }))
    await bundle(again)
    const files = readdirSync(again, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.cjs'))
      .sort()
    expect(files).toEqual(expect.arrayContaining(['metabind.cjs', 'metabindd.cjs']))
    for (const file of files) {
      expect(readFileSync(join(again, file)).equals(readFileSync(join(directory, file)))).toBe(true)
    }
  })

  test('names the licence of everything in it', () => {
    const parts = components(ROOT, bundled.packages)
    expect(parts.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['fastify', 'koffi', 'zod']),
    )
    const licences = new Set(parts.map(({ licence }) => licence))
    for (const licence of licences) expect(licence).toMatch(/MIT|ISC|BSD|Apache-2\.0/)
  })
})

test('the configuration that is installed is empty', () => {
  const read = (name: string) => readFileSync(join(ROOT, 'packaging/etc', name), 'utf8')
  for (const name of ['metabind.toml', 'policy.toml']) expect(read(name)).toMatch(/^(#.*\n)+$/)
})

describe('the reference of the configuration', () => {
  test('changes nothing as it is installed', () => {
    const text = configReference(PAGE, '1.2.3')
    expect(parseConfig([{ file: 'default', text }])).toEqual(parseConfig([]))
  })

  test('has every key of the schema, and says the default', () => {
    const keys = new Set(configKeys(PAGE).map(({ section, key }) => `${section}.${key}`))
    for (const [section, values] of Object.entries(parseConfig([]))) {
      for (const key of Object.keys(values)) expect(keys).toContain(`${section}.${key}`)
    }
    const shown = configReference(PAGE, '1.2.3')
      .split('\n')
      .filter((line) => !/^#\w+ = {4}#/.test(line))
      .map((line) => line.replace(/^#(\w+ = )/, '$1'))
      .join('\n')
    expect(parseConfig([{ file: 'shown', text: shown }])).toEqual(parseConfig([]))
  })
})

describe('manual pages and completions', () => {
  test('have every verb with its options', () => {
    const source = execFileSync(process.execPath, [join(ROOT, 'src/cli.ts'), '--help'], {
      encoding: 'utf8',
    })
    const verbs = [...source.matchAll(/^ {2}([\w-]+) {2,}/gm)].map(([, verb]) => verb)
    expect(command.verbs.map(({ name }) => name)).toEqual(verbs)
    const page = commandPage(command, HEADING)
    for (const { name, options } of command.verbs) {
      expect(page).toContain(`.SS metabind ${name}\n`)
      for (const option of options) {
        expect(page).toContain(option.name.replaceAll('-', '\\-'))
        expect(fishCompletion(command)).toContain(
          `'__metabind_in ${name}' -l ${option.name.slice(2)}`,
        )
      }
      const all = options.map((option) => option.name).join(' ')
      expect(bashCompletion(command)).toContain(`${name}) options='${all}'`)
      expect(zshCompletion(command)).toContain(`${name}) options='${all}'`)
    }
  })

  test('manual pages have what manual pages have, in lines of a terminal', (context) => {
    const help = readHelp(process.execPath, join(directory, 'metabindd.cjs'))
    const pages = {
      metabind: commandPage(command, HEADING),
      metabindd: daemonPage(help, HEADING),
      'metabind.toml': configPage(configKeys(PAGE), HEADING),
    }
    for (const [name, page] of Object.entries(pages)) {
      for (const section of [
        'NAME',
        'SYNOPSIS',
        'DESCRIPTION',
        'FILES',
        'EXIT STATUS',
        'EXAMPLES',
      ]) {
        expect(page, name).toContain(`\n.SH ${section}\n`)
      }
      const groff = spawnSync(
        'groff',
        ['-man', '-Tutf8', '-rLL=80n', '-ww', '-P-c', '-P-b', '-P-u'],
        {
          input: page,
          encoding: 'utf8',
        },
      )
      if (groff.error !== undefined) context.skip('there is no groff')
      expect(groff.stderr, name).toBe('')
      const long = groff.stdout.split('\n').filter((line) => line.length > 80)
      // A signature or the like cannot be broken.
      expect(long, name).toEqual([])
      expect(groff.stdout).toContain('EXAMPLES')
    }
  })

  test('have every key of the configuration, and what the agent says of itself', () => {
    const page = configPage(configKeys(PAGE), HEADING)
    for (const { key } of configKeys(PAGE)) expect(page).toContain(`.BR ${key} `)
    const help = readHelp(process.execPath, join(directory, 'metabindd.cjs'))
    expect(daemonPage(help, HEADING)).toContain('\\-\\-config FILE')
  })
})
