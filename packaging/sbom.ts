import type { Component } from './licences.ts'
import type { Release } from './release.ts'
import { cpe, type RuntimePart } from './runtime-parts.ts'

type SbomRelease = Pick<Release, 'version' | 'epoch' | 'maintainer' | 'homepage'>

/** The Node.js that is shipped: the npm package that it came in, and what is compiled into it. */
interface Runtime {
  readonly node: Component
  readonly parts: readonly RuntimePart[]
}

/** What is in the package, as CycloneDX 1.5. The same parts give the same bytes. */
export function sbom(
  release: SbomRelease,
  packages: readonly Component[],
  runtime: Runtime,
  name = 'metabind',
): string {
  const { version, epoch, maintainer, homepage } = release
  const self = `${name}@${version}`
  const components = [...packages.map(npmPackage), nodeComponent(runtime.node)]
  const compiledIn = runtime.parts.map(runtimeComponent)
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1000).toISOString(),
      component: {
        type: 'application',
        'bom-ref': self,
        name,
        version,
        licenses: [{ expression: 'Apache-2.0' }],
        externalReferences: [{ type: 'website', url: homepage }],
      },
      supplier: { name: maintainer, url: [homepage] },
    },
    components: [...components, ...compiledIn],
    dependencies: [
      { ref: self, dependsOn: references(components) },
      { ref: packageUrl(runtime.node), dependsOn: references(compiledIn) },
    ],
  }
  return `${JSON.stringify(document, null, 2)}\n`
}

function npmPackage(part: Component) {
  const { name, version, licence } = part
  return {
    type: 'library',
    'bom-ref': packageUrl(part),
    name,
    version,
    licenses: [{ expression: licence }],
    purl: packageUrl(part),
  }
}

function nodeComponent(node: Component) {
  return {
    ...npmPackage(node),
    type: 'platform',
    name: 'node',
    cpe: cpe('node', node.version),
  }
}

function runtimeComponent({ name, version, licence, cpe }: RuntimePart) {
  const purl = `pkg:generic/${name}@${version}`
  const reference = `node/${name}@${version}`
  return {
    type: 'library',
    'bom-ref': reference,
    name,
    version,
    licenses: [{ expression: licence }],
    cpe,
    purl,
  }
}

function references(components: readonly { readonly 'bom-ref': string }[]): string[] {
  return components.map((component) => component['bom-ref'])
}

/** A scope's @ is escaped in a package URL. */
function packageUrl({ name, version }: Pick<Component, 'name' | 'version'>): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`
}
