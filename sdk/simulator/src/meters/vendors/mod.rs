//! The five vendors, each in a room of its own. Figures carry their source; what was never published is said to be
//! unverified, and can be set by hand.

mod dataverse;
mod hubspot;
mod pipedrive;
mod salesforce;
mod zoho;

pub(crate) use dataverse::Dataverse;
pub(crate) use hubspot::HubSpot;
pub(crate) use pipedrive::Pipedrive;
pub(crate) use salesforce::Salesforce;
pub(crate) use zoho::Zoho;
