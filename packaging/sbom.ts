import type { Component } from './licences.ts'
import type { Release } from './release.ts'

type SbomRelease = Pick<Release, 'version' | 'epoch' | 'maintainer' | 'homepage'>

/** What is in the package, as CycloneDX 1.5. The same parts give the same bytes. */
export function sbom(release: SbomRelease, parts: readonly Component[]): string {
  const { version, epoch, maintainer, homepage } = release
  const component = ({ name, version, licence }: Component) => ({
    type: 'library',
    'bom-ref': `pkg:npm/${encodeName(name)}@${version}`,
    name,
    version,
    licenses: [{ expression: licence }],
    purl: `pkg:npm/${encodeName(name)}@${version}`,
  })
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1000).toISOString(),
      component: {
        type: 'application',
        'bom-ref': `metabind@${version}`,
        name: 'metabind',
        version,
        licenses: [{ expression: 'Apache-2.0' }],
        externalReferences: [{ type: 'website', url: homepage }],
      },
      supplier: { name: maintainer, url: [homepage] },
    },
    components: parts.map(component),
    dependencies: [
      {
        ref: `metabind@${version}`,
        dependsOn: parts.map(({ name, version }) => `pkg:npm/${encodeName(name)}@${version}`),
      },
    ],
  }
  return `${JSON.stringify(document, null, 2)}\n`
}

/** A scope's @ is escaped in a package URL. */
function encodeName(name: string): string {
  return name.replace('@', '%40')
}
