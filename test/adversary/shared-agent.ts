import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { APP_POLICY, type Target } from '../harness/attack.ts'
import { freePort } from '../harness/free-port.ts'
import { layLibrary, layWrappers } from '../harness/library.ts'
import { scratch } from '../harness/metabind.ts'
import { launchPackaged } from '../harness/packaged.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** What packages install below /usr/lib, readable by every user. */
    readonly library: string
    /** The agent of all files that do no harm to it if its defence holds. */
    readonly target: Target
  }
}

/** Lays out what a package has, and starts one agent of it for all files that need none of their own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (process.getuid?.() !== 0) throw new Error('these tests need root, for users and cgroups')
  const directory = await scratch()
  const library = await layLibrary(join(directory.path, 'lib'))
  await layWrappers(library)
  const policy = join(directory.path, 'policy.toml')
  await writeFile(policy, APP_POLICY, { mode: 0o644 })
  const credentialsPort = await freePort()
  const config = `policy.file = ${JSON.stringify(policy)}
credentials_uri.enabled = true
credentials_uri.port = ${credentialsPort}
`
  const packaged = await launchPackaged({ config, library, certified: true })
  if (packaged === undefined) throw new Error('no cgroup with a bound on memory can be made here')
  const { metadataSocket, adminSocket, stateDirectory, runtimeDirectory, agent, cloud, tpm } =
    packaged.instance
  project.provide('library', library)
  project.provide('target', {
    metadataSocket,
    adminSocket,
    stateDirectory,
    runtimeDirectory,
    credentialsPort,
    directory: packaged.directory,
    pid: agent.child.pid ?? 0,
    cloudUrl: cloud?.url ?? '',
    instanceId: cloud?.instanceId ?? '',
    tcti: tpm.tcti,
  })
  return async () => {
    await packaged.stop()
    await directory[Symbol.asyncDispose]()
  }
}
