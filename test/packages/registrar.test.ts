import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Bundle, bundleRegistrar } from '../../packaging/bundle.ts'
import { readHelp } from '../../packaging/help-text.ts'
import { components } from '../../packaging/licences.ts'
import {
  bashCompletion,
  fishCompletion,
  wordsOf,
  zshCompletion,
} from '../../packaging/registrar-completions.ts'
import { commandPage, configPage, configRows } from '../../packaging/registrar-manual.ts'
import { fleetPages } from '../../packaging/registrar-tree.ts'
import { parseRegistrarConfig } from '../../src/registrar/registrar-config.ts'
import { startRegistrarProcess } from '../fleet/registrar-process.ts'
import { softHsm } from '../harness/softhsm.ts'

/** What the package metabind-registrar has in it. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const HEADING = {
  version: '1.2.3',
  maintainer: 'M <m@example.com>',
  homepage: 'https://example.com/',
  date: '2026-11-23',
}

let directory: string
let bundled: Bundle
let program: string
let help: string
beforeAll(async () => {
  // Far from the project, so that nothing is found in node_modules by accident.
  directory = mkdtempSync('/tmp/metabind-registrar-bundle-')
  bundled = await bundleRegistrar(directory)
  program = join(directory, 'metabind-registrar.cjs')
  // Before koffi is there: the help of a package for another architecture is read without a native part that runs here.
  help = readHelp(process.execPath, program)
  const require = createRequire(join(ROOT, 'native/tpm2-js/package.json'))
  const koffi = dirname(require.resolve(`@koromix/koffi-linux-${process.arch}`))
  const native = process.arch === 'x64' ? 'linux_x64' : 'linux_arm64'
  copyFileSync(join(koffi, native, 'koffi.node'), join(directory, 'koffi.node'))
  return () => rmSync(directory, { recursive: true })
})

describe('the bundle', () => {
  test('serves in a folder of its own, and administers', async () => {
    const more = '[[audience]]\nname = "sts.example"\n'
    const registrar = await startRegistrarProcess(join(directory, 'r'), more, { program })
    onTestFinished(() => registrar.end())
    const response = await fetch(`${registrar.origin}/jwks.json`)
    expect(await response.json()).toMatchObject({ keys: [{ use: 'sig' }, { use: 'sig' }] })
    const args = [program, 'list', '--config', registrar.config]
    expect(execFileSync(process.execPath, args, { cwd: '/', encoding: 'utf8' })).toBe('')
  })

  test('has keys in a token, if it is told to', async () => {
    const hsm = await softHsm(join(directory, 'hsm'))
    const started = { program, env: hsm.env }
    const registrar = await startRegistrarProcess(join(directory, 'h'), hsm.config, started)
    onTestFinished(() => registrar.end())
    expect(hsm.tool('--list-objects', '--type', 'privkey').match(/Private Key/g)).toHaveLength(4)
  })

  test('is the same twice', async () => {
    const again = mkdtempSync('/tmp/metabind-registrar-bundle-')
    onTestFinished(() => rmSync(again, { recursive: true }))
    await bundleRegistrar(again)
    const other = readFileSync(join(again, 'metabind-registrar.cjs'))
    expect(readFileSync(program).equals(other)).toBe(true)
  })

  test('names the licence of everything in it, and has no more than it needs', () => {
    const parts = components(ROOT, bundled.packages)
    const names = parts.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['fastify', 'koffi', 'pkijs', 'zod']))
    expect(names).not.toContain('undici')
    for (const { licence } of parts) expect(licence).toMatch(/MIT|ISC|BSD|Apache-2\.0/)
  })
})

test('the configuration that is installed is empty', () => {
  const text = readFileSync(join(ROOT, 'packaging/registrar/registrar.toml'), 'utf8')
  expect(text).toMatch(/^(#.*\n)+$/)
})

/** Each key of the schema, as `section.key`. */
function schemaKeys(): string[] {
  const text = 'url = "https://registrar.example"\n[[audience]]\nname = "a"\n'
  const config = parseRegistrarConfig([{ file: 'r.toml', text }])
  return Object.entries(config).flatMap(([section, value]) => {
    const [table] = [value].flat()
    if (typeof table !== 'object') return [section]
    return Object.keys(table).map((key) => `${section}.${key}`)
  })
}

describe('manual pages and completions', () => {
  test('have every key of the configuration that has a default', () => {
    const rows = configRows(fleetPages(ROOT))
    const named = rows.flatMap(({ keys }) => keys.split(', '))
    expect(schemaKeys().filter((key) => !named.includes(key))).toEqual([])
    const page = configPage(rows, HEADING)
    for (const { keys } of rows) expect(page).toContain(`.B ${keys}`)
  })

  test('have every verb and every option', () => {
    const { verbs, options } = wordsOf(help)
    expect(verbs.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'serve',
        'list',
        'show',
        'approve',
        'suspend',
        'evict',
        'ban',
        'events',
      ]),
    )
    expect(options.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['--config', '--reason', '--json', '--version', '--help']),
    )
    const page = commandPage(help, HEADING)
    const completions = [bashCompletion(help), zshCompletion(help), fishCompletion(help)]
    for (const { name } of [...verbs, ...options]) {
      expect(page).toContain(name.replaceAll('-', '\\-'))
      for (const completion of completions) expect(completion).toContain(name.replace('--', ''))
    }
  })

  test('manual pages are in lines of a terminal', (context) => {
    for (const page of [
      commandPage(help, HEADING),
      configPage(configRows(fleetPages(ROOT)), HEADING),
    ]) {
      const args = ['-man', '-Tutf8', '-rLL=80n', '-ww', '-P-c', '-P-b', '-P-u']
      const groff = spawnSync('groff', args, { input: page, encoding: 'utf8' })
      if (groff.error !== undefined) context.skip('there is no groff')
      expect(groff.stderr).toBe('')
      expect(groff.stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
    }
  })

  test('bash offers verbs first, then files behind --config', () => {
    const file = join(directory, 'completion')
    writeFileSync(file, bashCompletion(help))
    const ask = (...typed: string[]) => {
      const words = typed.map((word) => `'${word}'`).join(' ')
      const script = `. ${file}; COMP_WORDS=(metabind-registrar ${words}); COMP_CWORD=${typed.length}
_metabind_registrar; printf '%s\\n' "\${COMPREPLY[@]}"`
      return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split('\n')
    }
    expect(ask('ap')).toEqual(['approve'])
    expect(ask('--re')).toEqual(['--reason'])
    expect(ask('list', '--config', file.slice(0, -3))).toEqual([file])
    expect(ask('--reason', '')).toEqual([''])
  })
})
