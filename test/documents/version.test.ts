import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import linux from '../../native/linux/package.json' with { type: 'json' }
import pkcs11 from '../../native/pkcs11/package.json' with { type: 'json' }
import tpm2 from '../../native/tpm2-js/package.json' with { type: 'json' }
import manifest from '../../package.json' with { type: 'json' }

/** The version stands in several files, and is one. */

const ROOT = new URL('../../', import.meta.url)
const PAGES = ['', 'docs/', 'native/tpm2-js/', 'packaging/npm/'].flatMap((folder) =>
  readdirSync(new URL(folder, ROOT))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `${folder}${name}`),
)
const FILE = /\b(metabind|tpm2-js)[-_](\d+\.\d+\.\d+)(?=[-.])/g

test.each(PAGES)('the package files that %s names are of this version', (page) => {
  const versions: Readonly<Record<string, string>> = {
    metabind: manifest.version,
    'tpm2-js': tpm2.version,
  }
  for (const [, name = '', version] of readFileSync(new URL(page, ROOT), 'utf8').matchAll(FILE)) {
    expect(version, name).toBe(versions[name])
  }
})

test('the workspaces are wanted in the version that they have', () => {
  expect(manifest.dependencies['tpm2-js']).toBe(tpm2.version)
  expect(manifest.dependencies['metabind-linux']).toBe(linux.version)
  expect(manifest.dependencies['metabind-pkcs11']).toBe(pkcs11.version)
})
