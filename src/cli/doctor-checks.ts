import { readConfig } from '../config.ts'
import { MetabindError } from '../errors.ts'
import { requireInSandbox } from './config-sandbox.ts'
import { checkAgent, checkMetadataSocket } from './doctor-agent.ts'
import {
  checkAuditDisk,
  checkConfigMode,
  checkRuntimeDirectory,
  checkSocketModes,
} from './doctor-files.ts'
import {
  configFilesOf,
  type DoctorCheck,
  type Finding,
  findingOf,
  type Installation,
} from './doctor-finding.ts'
import { checkCredentialsPort, checkDirectReaders, checkLockdown } from './doctor-lockdown.ts'
import { checkPolicy } from './doctor-policy.ts'
import { checkRegistrarSandbox } from './doctor-registrar.ts'
import { checkKernel, checkServiceManager } from './doctor-releases.ts'
import { checkRoute } from './doctor-route.ts'
import { checkCloudInit, checkSdkConfigurations } from './doctor-sdks.ts'

/** Every check, in the order of its findings. Another one is a function and a line here. */
export const DOCTOR_CHECKS: Readonly<Record<string, DoctorCheck>> = {
  configuration: checkConfiguration,
  'configuration-mode': checkConfigMode,
  policy: checkPolicy,
  agent: checkAgent,
  'registrar-sandbox': checkRegistrarSandbox,
  'metadata-socket': checkMetadataSocket,
  'socket-modes': checkSocketModes,
  'runtime-directory': checkRuntimeDirectory,
  'audit-disk': checkAuditDisk,
  lockdown: checkLockdown,
  'service-route': checkRoute,
  'credentials-port': checkCredentialsPort,
  'direct-readers': checkDirectReaders,
  'sdk-configurations': checkSdkConfigurations,
  'cloud-init': checkCloudInit,
  kernel: () => checkKernel(),
  'service-manager': checkServiceManager,
}

function checkConfiguration(installation: Installation): Finding[] {
  try {
    requireInSandbox(readConfig(configFilesOf(installation)))
    return []
  } catch (error) {
    if (error instanceof MetabindError) return [findingOf('configuration', error)]
    throw error
  }
}
